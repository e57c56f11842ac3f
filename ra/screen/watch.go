package screen

import (
	"image"
	"sync"
)

// maxRects bounds the list of changed rectangles of one watch. More collapse
// into their bounding box: looking at too many pixels is harmless, a growing
// list is not.
const maxRects = 64

// A Change says what happened since the last look.
type Change struct {
	// Rects are changed parts. They may overlap; pixels in them may turn out
	// to be equal; pixels outside them are equal.
	Rects []image.Rectangle
	// Resized is set if the size changed. Rects then holds the whole desktop.
	Resized bool
	// Cursor is set if the pointer shape changed.
	Cursor bool
}

// A Watch collects the changes of a Source for one consumer. It holds bounded
// state however long it is not looked at.
type Watch struct {
	c       chan struct{}
	collect func(*Watch) // asks the source for what it has not reported yet
	remove  func(*Watch)

	mu      sync.Mutex
	pending Change
	err     error
}

// C returns a channel that holds a token when there is something to Take. A
// token may turn out to be stale.
func (w *Watch) C() <-chan struct{} { return w.c }

// Take returns what changed since the last Take. Pixels grabbed after Take are
// at least as new as the changes it returned.
func (w *Watch) Take() Change {
	if w.collect != nil {
		w.collect(w)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.pending
	w.pending = Change{}
	return c
}

// Err returns why the source ended: net.ErrClosed after Close, another error
// if the display went away, nil while it lives.
func (w *Watch) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Close ends the watch.
func (w *Watch) Close() {
	if w.remove != nil {
		w.remove(w)
	}
}

func (w *Watch) add(c Change) {
	w.mu.Lock()
	p := &w.pending
	if c.Resized {
		p.Resized, p.Rects = true, nil
	}
	p.Cursor = p.Cursor || c.Cursor
	p.Rects = append(p.Rects, c.Rects...)
	if len(p.Rects) > maxRects {
		var box image.Rectangle
		for _, r := range p.Rects {
			box = box.Union(r)
		}
		p.Rects = append(p.Rects[:0], box)
	}
	w.mu.Unlock()
}

func (w *Watch) wake() {
	select {
	case w.c <- struct{}{}:
	default:
	}
}

// hub hands the changes of one source to its watches.
type hub struct {
	collect func(*Watch)

	mu      sync.Mutex
	watches map[*Watch]struct{}
	err     error
}

func (h *hub) watch(whole image.Rectangle) *Watch {
	w := &Watch{c: make(chan struct{}, 1), collect: h.collect, remove: h.remove}
	h.mu.Lock()
	if h.watches == nil {
		h.watches = make(map[*Watch]struct{})
	}
	h.watches[w] = struct{}{}
	w.err = h.err
	h.mu.Unlock()
	w.add(Change{Rects: []image.Rectangle{whole}, Cursor: true})
	w.wake()
	return w
}

func (h *hub) remove(w *Watch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watches, w)
}

// add gives c to every watch and wakes all but self, which is looking already.
func (h *hub) add(c Change, self *Watch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watches {
		w.add(c)
		if w != self {
			w.wake()
		}
	}
}

// wake tells every watch that a Take is worth while.
func (h *hub) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watches {
		w.wake()
	}
}

// fail ends every watch with err. The first error stays.
func (h *hub) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return
	}
	h.err = err
	for w := range h.watches {
		w.mu.Lock()
		w.err = err
		w.mu.Unlock()
		w.wake()
	}
}

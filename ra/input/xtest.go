package input

import (
	"context"
	"fmt"
	"image"
	"sync"
	"time"

	"shipworm/ra/rfb"
	"shipworm/ra/x11"
)

const (
	// syncEvery bounds the motions that the server has not confirmed.
	syncEvery = 8
	// closeTimeout bounds the wait for a display that does not answer.
	closeTimeout = 2 * time.Second
)

// An XTest injects input into an X display and watches for Esc on it.
type XTest struct {
	name string
	log  ledger

	mu      sync.Mutex
	d       display
	kb      *keyboard
	buttons uint8
	at      image.Point
	moves   int
}

// OpenXTest connects to display ("" = $DISPLAY).
func OpenXTest(display string) (*XTest, error) {
	d, err := x11.OpenInput(display)
	if err != nil {
		return nil, fmt.Errorf("input: %w", err)
	}
	x, err := newXTest(display, d)
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("input: %w", err)
	}
	return x, nil
}

func newXTest(name string, d display) (*XTest, error) {
	kb, err := newKeyboard(d)
	if err != nil {
		return nil, err
	}
	x := &XTest{name: name, d: d, kb: kb, at: image.Pt(-1, -1)}
	kb.wrote = func(code byte) { x.log.injecting(time.Now(), code) }
	return x, nil
}

// Inject implements Injector.
func (x *XTest) Inject(in rfb.Input) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch in.Kind {
	case rfb.KeyInput:
		return x.key(normal(in.Keysym), in.Down)
	case rfb.PointerInput:
		return x.pointer(image.Pt(int(in.X), int(in.Y)), in.Buttons)
	}
	return ErrKind
}

func (x *XTest) key(sym uint32, down bool) error {
	turn := x.kb.release
	if down {
		turn = x.kb.press
	}
	if err := turn(sym); err != nil {
		return err
	}
	return x.d.Sync()
}

func (x *XTest) pointer(p image.Point, buttons uint8) error {
	if !p.In(image.Rectangle{Max: x.d.Size()}) {
		return fmt.Errorf("%w: %v", ErrOutside, p)
	}
	if p != x.at {
		if err := x.d.Move(p); err != nil {
			return err
		}
		x.at = p
		x.moves++
	}
	changed := x.buttons ^ buttons
	for i := range 8 {
		if changed>>i&1 == 0 {
			continue
		}
		if err := x.d.Button(byte(i+1), buttons>>i&1 != 0); err != nil {
			return err
		}
	}
	x.buttons = buttons
	if changed == 0 && x.moves < syncEvery {
		return nil
	}
	x.moves = 0
	return x.d.Sync()
}

// ReleaseAll implements Injector.
func (x *XTest) ReleaseAll() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.releaseAll()
}

func (x *XTest) releaseAll() error {
	err := x.kb.clear()
	for i := range 8 {
		if x.buttons>>i&1 != 0 {
			if e := x.d.Button(byte(i+1), false); err == nil {
				err = e
			}
		}
	}
	x.buttons = 0
	// The User may have moved the pointer: the next event sets it anew.
	x.at = image.Pt(-1, -1)
	if err != nil {
		return err
	}
	return x.d.Sync()
}

// Close implements Injector. A running Watch goes on. A display that does not
// answer is given up after two seconds.
func (x *XTest) Close() error {
	defer time.AfterFunc(closeTimeout, func() { x.d.Close() }).Stop()
	x.mu.Lock()
	defer x.mu.Unlock()
	err := x.releaseAll()
	if err == nil {
		err = x.kb.giveBack()
	}
	if e := x.d.Close(); err == nil {
		err = e
	}
	return err
}

// Watch implements EscWatcher. It sees a press whatever has the focus and
// whoever holds a grab, and works on a connection of its own, so that neither
// a flood of Inject nor a stuck one delays it. Every press of a real keyboard
// counts, and every one made by another program (an on-screen keyboard).
// pressed must not call Close; it may call ReleaseAll.
func (x *XTest) Watch(ctx context.Context, pressed func()) error {
	ended := make(chan error, 1)
	w, err := x11.WatchKeys(x.name, x11.KeyEvents{
		Press: func(code byte, fake bool) {
			if x.log.seen(time.Now(), code, fake) {
				pressed()
			}
		},
		Map:   x.log.mapped,
		Ended: func(err error) { ended <- err },
	})
	if err != nil {
		return fmt.Errorf("input: watch for Esc: %w", err)
	}
	defer w.Close()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-ended:
		return fmt.Errorf("input: watch for Esc: %w", err)
	}
}

var (
	_ Injector   = (*XTest)(nil)
	_ EscWatcher = (*XTest)(nil)
)

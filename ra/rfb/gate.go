package rfb

import "sync"

// A Gate decides whether anything of the screen may leave. It is shared by
// whoever pauses and by every [Serve]; its methods may be called from any
// goroutine. A nil *Gate is always open.
type Gate struct {
	mu      sync.RWMutex
	open    bool
	changed chan struct{} // closed at the next change
}

// NewGate returns a gate that is open or shut.
func NewGate(open bool) *Gate { return &Gate{open: open, changed: make(chan struct{})} }

// Set opens or shuts the gate. When Set(false) returns, no pixel that is
// painted from then on leaves before the gate opens again: it waits for
// a read of the screen that is under way, which takes milliseconds, but not
// for the network. The frame read before may still be on its way.
func (g *Gate) Set(open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open == open {
		return
	}
	g.open = open
	close(g.changed)
	g.changed = make(chan struct{})
}

// IsOpen reports the state.
func (g *Gate) IsOpen() bool {
	if g == nil {
		return true
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.open
}

// change returns a channel that is closed at the next change.
func (g *Gate) change() <-chan struct{} {
	if g == nil {
		return nil
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.changed
}

// pass runs look while the gate is held open; it reports whether it was open.
func (g *Gate) pass(look func() error) (bool, error) {
	if g == nil {
		return true, look()
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	if !g.open {
		return false, nil
	}
	return true, look()
}

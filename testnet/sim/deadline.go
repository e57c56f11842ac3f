package sim

import (
	"sync"
	"time"
)

// A deadline is a channel that closes at a time that may be moved.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	gone  chan struct{} // closed once the time has come
}

func (d *deadline) init() { d.gone = make(chan struct{}) }

// wait returns the channel. A new one is made only after the old one closed,
// so whoever waits on it follows every move.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gone
}

// set moves the deadline; the zero time means never.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.gone // the timer has fired; let it finish
	}
	d.timer = nil
	expired := false
	select {
	case <-d.gone:
		expired = true
	default:
	}
	if t.IsZero() {
		if expired {
			d.gone = make(chan struct{})
		}
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		if !expired {
			close(d.gone)
		}
		return
	}
	if expired {
		d.gone = make(chan struct{})
	}
	gone := d.gone
	d.timer = time.AfterFunc(wait, func() { close(gone) })
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline bounds present and future reads; the zero time lifts it.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.read, t) }

// SetWriteDeadline bounds future writes; the zero time lifts it.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.write, t) }

func (c *Conn) setDeadline(d *deadline, t time.Time) error {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return c.fail("set deadline", errClosed)
	}
	d.set(t)
	return nil
}

package sim

import (
	"context"
	"errors"
	"net"
	"time"
)

var errClosed = net.ErrClosed

// ErrRunning reports a second Run of the same world.
var ErrRunning = errors.New("sim: the world is running already")

// Run moves the world with time.Now and timers until ctx ends, and returns
// its cause. It starts no goroutine. When it begins, the world's clock keeps
// its value and goes on from there at the pace of the real clock; inside
// testing/synctest that is the bubble's virtual one.
func (w *World) Run(ctx context.Context) error {
	w.mu.Lock()
	if w.running {
		w.mu.Unlock()
		return ErrRunning
	}
	w.running, w.base, w.began = true, w.now, time.Now()
	wake := make(chan struct{}, 1)
	w.wake = wake
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.running, w.wake = false, nil
		w.mu.Unlock()
	}()

	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		w.mu.Lock()
		w.catchUp()
		due := w.queue.len() > 0
		wait := time.Duration(0)
		if due {
			wait = time.Duration(w.queue.first() - w.now)
		}
		// What came before this moment has been seen.
		select {
		case <-wake:
		default:
		}
		w.mu.Unlock()

		var alarm <-chan time.Time
		if due {
			timer.Reset(wait)
			alarm = timer.C
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-alarm:
		case <-wake:
		}
	}
}

// catchUp brings a running world to the real clock.
func (w *World) catchUp() { w.advance(w.base + int64(time.Since(w.began))) }

// Do calls f while nothing else uses the world, with the clock at the present
// if Run is running. It must not be called from a callback of this world.
func (w *World) Do(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running {
		w.catchUp()
	}
	f()
}

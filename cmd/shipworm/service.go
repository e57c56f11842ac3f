package main

import (
	"sync"
	"time"

	"shipworm/internal/notify"
)

// startNotify prepares to tell the service manager how we fare: ready is called
// once we serve; from then on status, which must come from the goroutine that
// does the work, shows at every turn that it is alive. One goroutine calls
// ready, and calls it again when status has news. stop ends it.
func startNotify(status func() string) (ready, stop func()) {
	n := notify.New()
	if !n.Present() {
		return func() {}, func() {}
	}
	quit := make(chan struct{})
	var again chan struct{}
	var teller sync.WaitGroup
	ready = func() {
		if again != nil {
			select {
			case again <- struct{}{}:
			default: // it will look anyway
			}
			return
		}
		again = make(chan struct{}, 1)
		n.Ready()
		teller.Go(func() {
			t := time.NewTicker(n.Interval())
			defer t.Stop()
			for {
				n.Alive(status())
				select {
				case <-t.C:
				case <-again:
				case <-quit:
					return
				}
			}
		})
	}
	return ready, func() {
		n.Stopping()
		close(quit)
		teller.Wait()
	}
}

package teredo

import (
	"context"
	"time"
)

const (
	sleepCheck = 5 * time.Second
	sleepJump  = 7500 * time.Millisecond // of the clock beyond the monotonic one
)

// watchSleep notices that the machine was suspended: clock, which goes on in
// sleep, then runs ahead of Go's monotonic clock, which stands still. A NAT's
// mapping rarely survives the night.
func watchSleep(ctx context.Context, clock func() time.Duration, news chan<- string) {
	t := time.NewTicker(sleepCheck)
	defer t.Stop()
	last, lastClock := time.Now(), clock()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		now, c := time.Now(), clock()
		if (c-lastClock)-now.Sub(last) > sleepJump {
			tell(news, "the system slept")
		}
		last, lastClock = now, c
	}
}

// tell passes news on unless some is waiting already, which will do.
func tell(news chan<- string, what string) {
	select {
	case news <- what:
	default:
	}
}

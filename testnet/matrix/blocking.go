package matrix

import (
	"context"
	"errors"
	"time"
)

// Blocking is a method made of code that waits for the network and the clock,
// as programs do. Its attempts run on the real clock, many at a time: the luck
// of the network is still the seed's, but times are the machine's as well.
type Blocking interface {
	Method
	// Try connects A with B and returns once each has heard the other, or why
	// it gave up. It calls ready when both ends know their address and A is
	// about to call B. ctx ends when the time for either part is over. Nothing
	// may be left when it returns.
	Try(ctx context.Context, s *Stage, ready func()) error
}

// maxWaiting is how many attempts on the real clock run at a time: more would
// wait for the processor and not for the network.
const maxWaiting = 16

var errTooSlow = errors.New("matrix: the time is over")

// block runs one attempt of a Blocking method.
func (c *Config) block(ctx context.Context, m Blocking, s *Stage, run int) (result, error) {
	moving, stop := context.WithCancel(context.WithoutCancel(ctx))
	stopped := make(chan struct{})
	go func() { defer close(stopped); _ = s.World.Run(moving) }()
	defer func() { stop(); <-stopped }()

	limited, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := time.AfterFunc(readyLimit, func() { cancel(errTooSlow) })
	defer limit.Stop()
	r := result{outcome: Unready}
	var began time.Time
	before := 0
	err := m.Try(limited, s, func() {
		limit.Reset(c.Limit)
		s.World.Do(func() {
			r.outcome, began, before = Failed, time.Now(), s.ladder.sent
			s.ladder.punch(s.World.Now())
		})
	})
	if ctx.Err() != nil {
		return r, context.Cause(ctx)
	}
	if err == nil && r.outcome == Failed {
		r.outcome, r.took = Connected, time.Since(began)
	}
	s.World.Do(func() {
		r.packets = s.ladder.sent - before
		r.ladder = s.ladder.ladder(s.World.Now())
	})
	r.ladder.Outcome, r.ladder.Run = r.outcome, run
	return r, nil
}

package upnp

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// attemptTime bounds one attempt by all protocols.
	attemptTime = 3 * time.Second
	// headStart is how long PCP and NAT-PMP are waited for before UPnP asks for
	// a mapping. It searches meanwhile. Mappings of two protocols on one router
	// are one entry of its table more often than not, and to take back the
	// second takes back the first. For the same reason PCP asks nothing any
	// more that had no chance to before UPnP did.
	headStart = 100 * time.Millisecond
	// searchStart is how long they are waited for before UPnP searches: a small
	// router that is asked everything at once is slower at each.
	searchStart = 30 * time.Millisecond
	// dropTime bounds the removal of a mapping.
	dropTime = time.Second
)

// attempt asks by every protocol and returns the first mapping with the agent
// that holds it. What the slower agent gets nonetheless is given back by a
// goroutine of late, which calls doubt if that may have cost the first one.
func (w *want) attempt(ctx context.Context, suggest netip.AddrPort, late *sync.WaitGroup, doubt func()) (agent, Mapping, error) {
	ports := newPortAgent(*w)
	devices, err := newIGDAgent(*w)
	if err != nil {
		return nil, Mapping{}, err
	}
	ctx, timeout := context.WithTimeout(ctx, attemptTime)
	ctx, won := context.WithCancelCause(ctx)
	cancel := func(cause error) { won(cause); timeout() }
	type result struct {
		agent   agent
		mapping Mapping
		err     error
	}
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	var decided atomic.Bool // who asks first
	timer := time.AfterFunc(headStart, func() { decided.Store(true); open() })
	ports.start = func() bool {
		if !decided.CompareAndSwap(false, true) {
			return false
		}
		timer.Reset(headStart)
		return true
	}
	results := make(chan result, 2)
	late.Go(func() {
		m, err := ports.obtain(ctx, suggest, nil)
		if err != nil {
			open()
		}
		results <- result{ports, m, err}
	})
	late.Go(func() {
		select {
		case <-gate: // the others have failed
		case <-time.After(searchStart):
		case <-ctx.Done():
		}
		m, err := devices.obtain(ctx, suggest, gate)
		results <- result{devices, m, err}
	})
	failed := &MapError{Gateway: w.gateway.Addr}
	for n := range 2 {
		r := <-results
		if r.err != nil {
			r.agent.abandon()
			failed.Errs = append(failed.Errs, r.err)
			continue
		}
		timer.Stop()
		cancel(errOvertaken)
		if n == 0 {
			late.Go(func() {
				loser := <-results
				if loser.err != nil {
					loser.agent.abandon()
					return
				}
				w.giveBack(context.WithoutCancel(ctx), loser.agent)
				if loser.mapping.Gateway == r.mapping.Gateway && loser.mapping.External.Port() == r.mapping.External.Port() {
					doubt()
				}
			})
		}
		return r.agent, r.mapping, nil
	}
	timer.Stop()
	cancel(nil)
	return nil, Mapping{}, failed
}

// giveBack removes the mapping of an agent that came second.
func (w *want) giveBack(ctx context.Context, a agent) {
	ctx, cancel := context.WithTimeout(ctx, dropTime-late) // it may ask once more, late
	defer cancel()
	if err := a.drop(ctx); err != nil {
		w.m.cfg.Logger.Debug("second mapping not removed", "err", err)
	}
}

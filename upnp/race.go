package upnp

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

const (
	// attemptTime bounds one attempt by all protocols.
	attemptTime = 3 * time.Second
	// headStart is how long PCP and NAT-PMP are waited for before UPnP asks for
	// a mapping. It searches meanwhile. Mappings of two protocols on one router
	// are one entry of its table more often than not, and to take back the
	// second would take back the first.
	headStart = 100 * time.Millisecond
	// dropTime bounds the removal of a mapping.
	dropTime = time.Second
)

// attempt asks by every protocol and returns the first mapping with the agent
// that holds it. What the slower agent gets nonetheless is given back by a
// goroutine of late.
func (w *want) attempt(ctx context.Context, suggest netip.AddrPort, late *sync.WaitGroup) (agent, Mapping, error) {
	ports, err := newPortAgent(*w)
	if err != nil {
		return nil, Mapping{}, err
	}
	devices, err := newIGDAgent(*w)
	if err != nil {
		return nil, Mapping{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	type result struct {
		agent   agent
		mapping Mapping
		err     error
	}
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	timer := time.AfterFunc(headStart, open)
	results := make(chan result, 2)
	late.Go(func() {
		m, err := ports.obtain(ctx, suggest, nil)
		if err != nil {
			open()
		}
		results <- result{ports, m, err}
	})
	late.Go(func() {
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
		cancel()
		if n == 0 {
			late.Go(func() {
				loser := <-results
				w.settle(context.WithoutCancel(ctx), r.mapping, loser.agent, loser.mapping, loser.err)
			})
		}
		return r.agent, r.mapping, nil
	}
	timer.Stop()
	cancel()
	return nil, Mapping{}, failed
}

// settle gives back what the slower agent got, unless it is what the faster one
// got, entered in the same router's table.
func (w *want) settle(ctx context.Context, won Mapping, loser agent, lost Mapping, err error) {
	if err != nil || lost.Gateway == won.Gateway && lost.External.Port() == won.External.Port() {
		loser.abandon()
		return
	}
	ctx, cancel := context.WithTimeout(ctx, dropTime)
	defer cancel()
	if err := loser.drop(ctx); err != nil {
		w.m.cfg.Logger.Debug("second mapping not removed", "via", lost.Via, "err", err)
	}
}

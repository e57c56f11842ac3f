//go:build linux

package main

import (
	"context"
	"fmt"
	"time"
)

// What counts as no loss, and for how long a rate is tried.
const (
	udpLoss   = 0.001
	udpSettle = 30 * time.Millisecond // for what is still on its way
)

// A search finds the highest rate of a path: up while all is well, then between
// the best rate that was and the least that was not.
type search struct {
	rate float64 // to try next, in packets a second
	good float64 // the best that arrived without loss; 0 none yet
	bad  float64 // the least that did not, or brought no more; 0 none yet
}

// tried takes in how many packets a second arrived, and whether that is as good
// as all.
func (s *search) tried(got float64, ok bool) {
	switch {
	case ok && got > 1.05*s.good:
		s.good = got
	case s.bad == 0 || s.rate < s.bad:
		s.bad = s.rate
	}
	switch {
	case s.bad == 0:
		s.rate *= 1.6
	case s.good == 0:
		s.rate /= 2
	default:
		s.rate = (s.good + s.bad) / 2
	}
}

// again returns a search that begins where this one ended.
func (s *search) again() *search {
	if s.good > 0 {
		return &search{rate: s.good}
	}
	return &search{rate: s.rate}
}

// udpRate searches the highest rate of UDP over a path without loss. The first
// search of a path takes longer, since it begins anywhere.
func (b *bench) udpRate(ctx context.Context, p *path, row string) error {
	probes := b.cfg.probes
	s := &search{rate: 50e3}
	if last := b.searches[row]; last != nil {
		s = last.again()
	} else {
		probes += 3
	}
	b.searches[row] = s
	for range probes {
		got, ok, err := b.probe(ctx, p, s.rate)
		if err != nil {
			return err
		}
		s.tried(got, ok)
	}
	if s.good == 0 {
		return fmt.Errorf("no rate down to %.0f kpps arrived without loss", s.bad/1e3)
	}
	b.add("udp", row, s.good/1e3)
	return nil
}

// probe sends at a rate and returns how many packets a second arrived, and
// whether that is as good as all.
func (b *bench) probe(ctx context.Context, p *path, rate float64) (float64, bool, error) {
	b.probed++
	if _, err := p.to.load.order(ctx, order{Do: "expect", ID: b.probed}); err != nil {
		return 0, false, err
	}
	sent, err := p.from.load.order(ctx, order{Do: "udp", From: p.from.address, To: p.to.address, Rate: rate, For: b.cfg.probe, ID: b.probed})
	if err != nil {
		return 0, false, err
	}
	time.Sleep(udpSettle)
	got, err := p.to.load.order(ctx, order{Do: "counted"})
	ok := float64(got.Packets) >= (1-udpLoss)*float64(sent.Packets)
	return float64(got.Packets) / sent.Took.Seconds(), ok, err
}

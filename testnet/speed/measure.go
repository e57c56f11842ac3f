//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// A series is what one row of the table is made of.
type series struct{ test, path string }

// samples holds the values of each series, by round.
type samples struct {
	order  []series
	values map[series][]float64
}

func (s *samples) add(test, path string, v float64) {
	k := series{test, path}
	if s.values == nil {
		s.values = map[series][]float64{}
	}
	if s.values[k] == nil {
		s.order = append(s.order, k)
	}
	s.values[k] = append(s.values[k], v)
}

// A bench is a run.
type bench struct {
	*stage
	samples
	cfg      *config
	machine  machine
	searches map[string]*search // of the UDP rate, by path
	probed   uint64             // number of the last probe
}

func measure(ctx context.Context, c *config) error {
	m := thisMachine()
	if m.Load > 1 {
		fmt.Fprintf(os.Stderr, "warning: load average %.1f: something else uses this machine, and the figures will suffer\n", m.Load)
	}
	s, err := newStage(ctx)
	if err != nil {
		return err
	}
	b := &bench{stage: s, cfg: c, machine: m, searches: map[string]*search{}}
	if err = b.memory(ctx); err == nil {
		err = b.rounds(ctx)
	}
	s.close()
	if err != nil {
		return err
	}
	switch r := b.report(); {
	case c.json:
		return r.writeJSON(os.Stdout)
	case c.markdown:
		return r.writeMarkdown(os.Stdout)
	default:
		return r.writeText(os.Stdout)
	}
}

func (b *bench) rounds(ctx context.Context) error {
	for i := range b.cfg.rounds {
		for _, uso := range []bool{true, false} {
			if err := b.setUSO(ctx, uso); err != nil {
				return err
			}
			for _, p := range b.paths {
				if p.uso != uso || !b.cfg.only.MatchString(p.name) {
					continue
				}
				if err := b.take(ctx, p); err != nil {
					return fmt.Errorf("round %d: %s: %w", i+1, p.name, err)
				}
			}
		}
		if err := b.servers(); err != nil {
			return fmt.Errorf("round %d: %w", i+1, err)
		}
		fmt.Fprintf(os.Stderr, "round %d of %d done\n", i+1, b.cfg.rounds)
	}
	return b.grown()
}

// take measures one path once.
func (b *bench) take(ctx context.Context, p path) error {
	if b.cfg.wants("ping-p50", "ping-p99") {
		if err := b.ping(ctx, p); err != nil {
			return err
		}
	}
	if b.cfg.wants("tcp1", "cpu-tx", "cpu-rx", "allocs-tx", "allocs-rx") {
		if err := b.tcp(p, 1); err != nil {
			return err
		}
	}
	if b.cfg.wants("tcp4") {
		if err := b.tcp(p, 4); err != nil {
			return err
		}
	}
	if b.cfg.wants("udp") {
		return b.udpRate(p)
	}
	return nil
}

// tcp measures the throughput of TCP and, with one stream, what it costs the
// tunnel.
func (b *bench) tcp(p path, streams int) error {
	ends := [2]*process{p.from.tunnel, p.to.tunnel}
	var before, after [2]usage
	for i, e := range ends {
		var err error
		if before[i], err = e.usage(); err != nil {
			return err
		}
	}
	a, err := p.from.load.order(order{Do: "tcp", From: p.from.address, To: p.to.address, Streams: streams, For: b.cfg.span})
	if err != nil {
		return err
	}
	b.add(fmt.Sprintf("tcp%d", streams), p.name, float64(a.Bytes)*8/a.Took.Seconds()/1e9)
	if streams > 1 {
		return nil
	}
	packets := float64(a.Bytes) / innerPayload
	for i, e := range ends {
		if e == nil {
			continue
		}
		if after[i], err = e.usage(); err != nil {
			return err
		}
		at := [2]string{"tx", "rx"}[i]
		b.add("cpu-"+at, p.name, float64(after[i].cpu-before[i].cpu)/packets)
		if e.orders != nil {
			b.add("allocs-"+at, p.name, float64(after[i].allocs-before[i].allocs)/packets)
		}
	}
	return nil
}

// usage is what a process has used.
type usage struct {
	cpu    time.Duration
	allocs uint64 // of an agent
}

func (p *process) usage() (u usage, err error) {
	if p == nil {
		return u, nil
	}
	if p.orders != nil {
		a, err := p.order(order{Do: "allocs"})
		if err != nil {
			return u, err
		}
		u.allocs = a.Allocs
	}
	u.cpu = p.cpu()
	return u, nil
}

//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// A bench is a run.
type bench struct {
	*stage
	samples
	machine  machine
	round    int                // from 1; 0 before all rounds
	searches map[string]*search // of the UDP rate, by row
	probed   uint64             // number of the last probe
}

// A part of a round takes every path once for some figures.
type part struct {
	test    string // that stands for it when it fails
	figures []string
	take    func(b *bench, ctx context.Context, p *path, row string) error
}

var parts = []part{
	{"ping-p50", []string{"ping"}, (*bench).ping},
	{"tcp1", []string{"tcp1", "cpu", "allocs", "retrans"}, func(b *bench, ctx context.Context, p *path, row string) error {
		return b.tcp(ctx, p, row, 1)
	}},
	{"tcp4", []string{"tcp4", "retrans"}, func(b *bench, ctx context.Context, p *path, row string) error {
		return b.tcp(ctx, p, row, 4)
	}},
	{"udp", []string{"udp"}, (*bench).udpRate},
}

// rounds takes everything in turn. It fails only with ctx.
func (b *bench) rounds(ctx context.Context) error {
	for b.round = 1; b.round <= b.cfg.rounds; b.round++ {
		for w := uso; w <= gro; w++ {
			if !b.cfg.carries(w) {
				continue
			}
			if err := b.plug(ctx, w); err != nil {
				return err
			}
			for _, t := range parts {
				if b.cfg.wants(w, t.figures...) {
					if err := b.each(ctx, t, w); err != nil {
						return err
					}
				}
			}
		}
		if err := b.servers(ctx); err != nil {
			return err
		}
	}
	return nil
}

// each takes the paths of a wire for a part, and every second time backwards:
// who comes after whom matters on a machine whose speed changes.
func (b *bench) each(ctx context.Context, t part, w cable) error {
	order := slices.Clone(kinds)
	if b.round%2 == 0 {
		slices.Reverse(order)
	}
	began := time.Now()
	taken := 0
	for _, k := range order {
		p := b.paths[k.id]
		if p == nil || !t.takes(k.id) || k.last < w {
			continue
		}
		if p.gone() {
			b.fail(t.test, row(k.id, w), p.err)
			continue
		}
		taken++
		p.err = b.awake(ctx, p)
		if p.err == nil {
			p.err = t.take(b, ctx, p, row(k.id, w))
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if p.err == nil {
			p.failures = 0
			continue
		}
		p.failures++
		b.say("%s: %s: %v", row(k.id, w), title(t.test), p.err)
		b.fail(t.test, row(k.id, w), p.err)
	}
	if taken > 0 {
		b.say("round %d of %d, %s: %s, %d paths in %.1f s", b.round, b.cfg.rounds, cables[w].name, t.figures[0], taken, time.Since(began).Seconds())
	}
	return nil
}

// takes reports whether the part is for a kind: servers are no paths, and runs
// are measured in place of one TCP stream only.
func (t part) takes(id string) bool {
	switch id {
	case "server", "miredo-server":
		return false
	case "runs":
		return t.test == "tcp1"
	}
	return true
}

// gone reports whether there is no use in trying any more: the path never was,
// or failed this often in a row.
func (p *path) gone() bool {
	return p.err != nil && (p.from.load == nil || p.failures >= 3)
}

func (b *bench) awake(ctx context.Context, p *path) error {
	_, err := p.from.load.order(ctx, order{Do: "wake", From: p.from.address, To: p.to.address})
	return err
}

// ping measures round trips, and what one costs both tunnels together, which
// says more than time where other programs want the processor too.
func (b *bench) ping(ctx context.Context, p *path, row string) error {
	spent := func() (cpu time.Duration, wakes int64) {
		for _, t := range []*process{p.from.tunnel, p.to.tunnel} {
			if t != nil {
				cpu, wakes = cpu+t.cpu(), wakes+t.wakes()
			}
		}
		return cpu, wakes
	}
	cpu, wakes := spent()
	a, err := p.from.load.order(ctx, order{Do: "ping", From: p.from.address, To: p.to.address, Count: b.cfg.pings, For: time.Duration(b.cfg.pings) * pingEvery})
	if err != nil {
		return err
	}
	if len(a.Times) < b.cfg.pings/2 {
		return fmt.Errorf("%d answers to %d pings", len(a.Times), b.cfg.pings)
	}
	if p.from.tunnel != nil {
		cpu2, wakes2 := spent()
		b.add("ping-wakes", row, float64(wakes2-wakes)/float64(b.cfg.pings))
		b.add("ping-cpu", row, float64((cpu2-cpu).Nanoseconds())/1e3/float64(b.cfg.pings))
	}
	slices.Sort(a.Times)
	b.add("ping-p50", row, a.Times[len(a.Times)/2])
	b.add("ping-p99", row, a.Times[len(a.Times)*99/100])
	return nil
}

// tcp measures the throughput of TCP and, with one stream, what it costs the
// tunnel.
func (b *bench) tcp(ctx context.Context, p *path, row string, streams int) error {
	ends := [2]*process{p.from.tunnel, p.to.tunnel}
	var before [2]usage
	for i, e := range ends {
		var err error
		if before[i], err = e.usage(ctx); err != nil {
			return err
		}
	}
	a, err := p.from.load.order(ctx, order{Do: "tcp", From: p.from.address, To: p.to.address, Streams: streams, For: b.cfg.span})
	if err != nil {
		return err
	}
	b.add(fmt.Sprintf("tcp%d", streams), row, float64(a.Bytes)*8/a.Took.Seconds()/1e9)
	if a.Packets > 0 {
		b.add(fmt.Sprintf("retrans%d", streams), row, 1000*float64(a.Again)/float64(a.Packets))
	}
	if streams > 1 {
		return nil
	}
	packets := float64(a.Bytes) / innerPayload
	for i, e := range ends {
		if e == nil {
			continue
		}
		after, err := e.usage(ctx)
		if err != nil {
			return err
		}
		at := [2]string{"tx", "rx"}[i]
		b.add("cpu-"+at, row, float64(after.cpu-before[i].cpu)/packets)
		if e.in != nil {
			b.add("allocs-"+at, row, float64(after.allocs-before[i].allocs)/packets)
		}
	}
	return nil
}

// usage is what a process has used.
type usage struct {
	cpu    time.Duration
	allocs uint64 // of an agent
}

func (p *process) usage(ctx context.Context) (u usage, err error) {
	if p == nil {
		return u, nil
	}
	if p.in != nil {
		a, err := p.order(ctx, order{Do: "allocs"})
		if err != nil {
			return u, err
		}
		u.allocs = a.Allocs
	}
	u.cpu = p.cpu()
	return u, nil
}

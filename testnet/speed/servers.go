//go:build linux

package main

import (
	"context"
	"fmt"
	"time"
)

// Endings of names in the table of memory.
const (
	idle      = ", idle"
	afterMany = ", after a round"
)

const (
	// manySources is how many sources must have asked a server before its
	// growth means something; sourcesWithin bounds the time that takes.
	manySources   = 1e6
	sourcesWithin = 20 * time.Second
)

// servers measures servers, each on a processor of its own, and then what they
// remember of their clients. It fails only with ctx.
func (b *bench) servers(ctx context.Context) error {
	if !b.cfg.wants(uso, "server", "memory") || b.paths["server"] == nil && b.paths["miredo-server"] == nil {
		return nil
	}
	for _, id := range []string{"server", "miredo-server"} {
		p, name := b.paths[id], row(id, uso)
		if p == nil {
			continue
		}
		for _, t := range []struct{ test, do string }{{"server-rs", "solicit"}, {"server-bubble", "bubble"}} {
			if p.err == nil {
				p.err = b.ask(ctx, id, t.do, t.test)
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if p.err != nil {
				b.fail(t.test, name, p.err)
			}
		}
		if p.err != nil {
			continue
		}
		if b.round == b.cfg.rounds && b.round > 1 {
			for end := time.Now().Add(sourcesWithin); p.err == nil && b.serving[id].sources < manySources && time.Now().Before(end); {
				p.err = b.ask(ctx, id, "solicit", "")
			}
		}
		b.add("rss", name+afterMany, mib(b.serving[id].process.rss()))
	}
	b.say("round %d of %d, servers", b.round, b.cfg.rounds)
	return nil
}

// ask loads a server and adds what it did to a test, if one is named.
func (b *bench) ask(ctx context.Context, id, do, test string) error {
	s := b.serving[id]
	before := s.process.cpu()
	a, err := b.flood.order(ctx, order{Do: do, To: s.address, For: b.cfg.span})
	if err != nil {
		return err
	}
	used := s.process.cpu() - before
	if a.Packets == 0 {
		return fmt.Errorf("%s: no answer", do)
	}
	s.sources += a.Sources
	if test != "" {
		b.add(test, row(id, uso), float64(a.Packets)/a.Took.Seconds()/1e3)
		b.add(test+"-cpu", row(id, uso), float64(used)/float64(a.Packets))
	}
	return nil
}

// grown says by how much servers have grown since their tables were full, after
// the first round.
func (b *bench) grown() {
	for id, s := range b.serving {
		name := row(id, uso)
		if v := b.points[series{"rss", name + afterMany}]; len(v) > 1 && s.sources >= manySources {
			b.add("growth", name, v[len(v)-1].value/v[0].value)
		}
	}
}

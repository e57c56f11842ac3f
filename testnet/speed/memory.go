//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
)

const (
	nameClient       = "shipworm client, TUN"
	nameClientAll    = "shipworm client, all its processes"
	nameMiredoClient = "Miredo client, all its processes"
	manyPeers        = ", 10,000 peers"

	memoryPeers = 10000
	memoryTUN   = "memory"
	// settle is how long a process may take to be at rest.
	settle = time.Second
)

// memory measures programs at rest, and clients with a TUN device in a machine
// of their own also after many peers spoke to them. It fails only with ctx.
func (b *bench) memory(ctx context.Context) error {
	if !b.cfg.wants(uso, "memory") {
		return nil
	}
	b.say("memory")
	time.Sleep(settle)
	for _, id := range []string{"server", "miredo-server"} {
		if s := b.serving[id]; s != nil && b.paths[id] != nil {
			b.add("rss", row(id, uso)+idle, mib(s.process.rss()))
		}
	}
	for _, c := range []struct {
		path, name string
		measure    func(context.Context) error
	}{{"tun", nameClient + idle, b.ourMemory}, {"miredo", nameMiredoClient + idle, b.miredoMemory}} {
		p := b.paths[c.path]
		if p == nil {
			continue
		}
		err := p.err
		if err == nil && b.flood == nil {
			err = b.startFlood(ctx)
		}
		if err == nil {
			err = c.measure(ctx)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			b.say("memory: %v", err)
			b.fail("rss", c.name, err)
		}
	}
	return nil
}

// ourMemory measures our client as it is shipped.
func (b *bench) ourMemory(ctx context.Context) error {
	bin := b.cfg.shipworm
	if _, err := os.Stat(bin); err != nil {
		err = fmt.Errorf("%w, which make build makes", err)
		b.missing = append(b.missing, "memory of the client: "+err.Error())
		return leftOutError{err}
	}
	env := append(os.Environ(), "XDG_RUNTIME_DIR="+scratch, "RUNTIME_DIRECTORY=")
	p, err := b.m.foreign(ctx, -1, env, bin, "teredo", "client", "--server", server, "--tun", memoryTUN, "--force", "--user", "root")
	if err != nil {
		return err
	}
	defer p.stop() // its peers would keep it busy
	address, err := b.m.waitTeredo(ctx, memoryTUN)
	if err != nil {
		return p.blame(err)
	}
	time.Sleep(settle)
	client, err := p.member("/dev/net/tun")
	if err != nil {
		return err
	}
	if err := b.greeted(ctx, address, func(when string) {
		b.add("rss", nameClient+when, mib(resident(client)))
		b.add("rss", nameClientAll+when, mib(p.rss()))
	}); err != nil {
		return err
	}
	out, err := b.m.output(ctx, env, bin, "teredo", "show", "--json")
	if err != nil {
		return err
	}
	var state struct {
		Trusted int `json:"peers_trusted"`
		Other   int `json:"peers_other"`
	}
	if err := json.Unmarshal([]byte(out), &state); err != nil {
		return fmt.Errorf("teredo show: %w", err)
	}
	b.notes = append(b.notes, fmt.Sprintf("Of the %d peers that spoke to our client for its memory, its bounded table holds %d.", memoryPeers, state.Trusted+state.Other))
	return nil
}

func (b *bench) miredoMemory(ctx context.Context) error {
	p, address, err := b.miredoClient(ctx, b.m)
	if err != nil {
		return err
	}
	defer p.stop()
	time.Sleep(settle)
	return b.greeted(ctx, address, func(when string) { b.add("rss", nameMiredoClient+when, mib(p.rss())) })
}

// greeted has a client measured before and after many peers spoke to it.
func (b *bench) greeted(ctx context.Context, address string, rss func(when string)) error {
	rss(idle)
	a, err := b.flood.order(ctx, order{Do: "greet", To: address, Count: memoryPeers})
	if err != nil {
		return err
	}
	if a.Packets == 0 {
		return errors.New("the client answered none of its peers")
	}
	rss(manyPeers)
	return nil
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	memoryPeers = 10000
	// settle is how long a process may take to be at rest.
	settle = time.Second
)

// memory measures the client as it is shipped, with a TUN device in a machine
// of its own: at rest, and after many peers spoke to it.
func (b *bench) memory(ctx context.Context) error {
	if !b.cfg.wants("rss") || b.cfg.only.String() != "" {
		return nil
	}
	time.Sleep(settle)
	for _, s := range b.serving {
		b.addRSS(s.name+idle, s.process)
	}
	for _, p := range b.paths {
		if p.name == nameMiredo {
			b.addRSS(nameMiredoClient, p.from.tunnel)
		}
	}
	bin := b.cfg.shipworm
	if _, err := os.Stat(bin); err != nil {
		b.missing = append(b.missing, "memory of the client: "+err.Error()+", which make build makes")
		return nil
	}
	env := append(os.Environ(), "XDG_RUNTIME_DIR="+scratch, "RUNTIME_DIRECTORY=")
	p := &process{cmd: exec.CommandContext(ctx, bin, "teredo", "client", "--server", server, "--tun", "memory", "--force", "--user", "root")}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, &p.said, &p.said
	if err := b.m.start(p.cmd); err != nil {
		return err
	}
	defer p.stop() // its peers would keep it busy
	address, err := b.m.waitTeredo(ctx, "memory")
	if err != nil {
		return p.blame(err)
	}
	time.Sleep(settle)
	own, helper := p.rss()
	b.add("rss", nameClient+idle, mib(own))
	b.add("rss", nameClient+"'s helper process", mib(helper))
	if _, err := b.flood.order(order{Do: "greet", To: address, Count: memoryPeers}); err != nil {
		return err
	}
	show := exec.CommandContext(ctx, bin, "teredo", "show", "--json")
	var out strings.Builder
	show.Env, show.Stdout = env, &out
	if err = b.m.start(show); err == nil {
		err = show.Wait()
	}
	var state struct {
		Trusted int `json:"peers_trusted"`
		Other   int `json:"peers_other"`
	}
	if err == nil {
		err = json.Unmarshal([]byte(out.String()), &state)
	}
	if err != nil {
		return fmt.Errorf("teredo show: %w\n%s", err, out.String())
	}
	own, _ = p.rss()
	b.add("rss", nameClient+manyPeers, mib(own))
	b.notes = append(b.notes, fmt.Sprintf("Of %d peers that spoke to the client its table holds %d.", memoryPeers, state.Trusted+state.Other))
	return nil
}

// addRSS adds what a process and its descendants hold together.
func (b *bench) addRSS(name string, p *process) {
	own, others := p.rss()
	b.add("rss", name, mib(own+others))
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

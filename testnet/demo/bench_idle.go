//go:build linux

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"shipworm/teredo/wire"
	"shipworm/testnet/sim"
)

// smallQUIC is the largest UDP payload, in bytes, that counts as a keep-alive
// of the session. The session is encrypted, so that a heartbeat, a ping and an
// acknowledgement are told from the rest by their size alone; whether the rest
// was silent is checked by the viewer, to which no byte may come.
const smallQUIC = 96

// Kinds of packets of an idle session.
const (
	kindServer = iota // to and from the Teredo server: refreshing the address
	kindBubble        // between the homes, empty: keeps NATs open
	kindSmall         // QUIC, at most smallQUIC bytes
	kindOther
	kinds
)

type traffic struct{ packets, bytes [kinds]int64 }

// A meter counts the packets of the homes' hosts, both directions of each
// line, and remembers when a host first sent one.
type meter struct {
	servers map[netip.Addr]bool

	mu    sync.Mutex
	lines map[string]*traffic
	first map[string]time.Time // since arm
}

func newMeter() *meter {
	return &meter{
		servers: map[netip.Addr]bool{serverAddr: true, serverAddr2: true},
		lines:   map[string]*traffic{"user": {}, "helper": {}},
		first:   map[string]time.Time{},
	}
}

func (m *meter) event(e sim.Event) {
	if e.Kind != sim.Sent && e.Kind != sim.Delivered {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.lines[e.Node]
	if t == nil {
		return
	}
	if e.Kind == sim.Sent && m.first[e.Node].IsZero() {
		m.first[e.Node] = e.Time
	}
	k := m.classify(e.Packet)
	t.packets[k]++
	t.bytes[k] += int64(len(e.Packet))
}

func (m *meter) classify(pkt []byte) int {
	if len(pkt) < 20 {
		return kindOther
	}
	header := int(pkt[0]&15) * 4
	src, dst := netip.AddrFrom4([4]byte(pkt[12:16])), netip.AddrFrom4([4]byte(pkt[16:20]))
	const protoUDP, udpHeader = 17, 8
	if pkt[9] != protoUDP || len(pkt) < header+udpHeader {
		return kindOther
	}
	if m.servers[src] || m.servers[dst] {
		return kindServer
	}
	var d wire.Datagram
	switch err := wire.Parse(pkt[header+udpHeader:], &d); {
	case err != nil:
		return kindOther
	case d.IPv6.IsBubble():
		return kindBubble
	case len(d.IPv6)-wire.HeaderSize-udpHeader <= smallQUIC:
		return kindSmall
	}
	return kindOther
}

// arm forgets who has sent.
func (m *meter) arm() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.first)
}

// firstFrom returns when the host sent its first packet since arm.
func (m *meter) firstFrom(host string) (time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.first[host]; !t.IsZero() {
		return t, nil
	}
	return time.Time{}, fmt.Errorf("no packet from %s was seen", host)
}

func (m *meter) count(host string) traffic {
	m.mu.Lock()
	defer m.mu.Unlock()
	return *m.lines[host]
}

func (t traffic) minus(u traffic) traffic {
	for k := range kinds {
		t.packets[k] -= u.packets[k]
		t.bytes[k] -= u.bytes[k]
	}
	return t
}

// idle measures a session in which nobody does anything.
func (b *bench) idle(ctx context.Context, m *meeting, state string) error {
	m.page.settle(lull)
	programs := []struct {
		name string
		pid  int
	}{
		{"User's shipworm", m.user.cmd.Process.Pid},
		{"Helper's shipworm", m.helper.cmd.Process.Pid},
		{"Teredo server", b.pidOf("teredo", "server")},
		{"X server, for comparison", b.pidOf("Xvfb", b.display)},
	}
	lines := []string{"user", "helper"} // hosts of the stage
	names := []string{"User's line", "Helper's line"}
	cpu := make([]time.Duration, len(programs))
	packets := make([]traffic, len(lines))
	var err error
	for i, p := range programs {
		if cpu[i], err = processorTime(p.pid); err != nil {
			return err
		}
	}
	for i, l := range lines {
		packets[i] = b.wire.count(l)
	}
	picture := m.page.received()
	begun := time.Now()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(b.cfg.bench.idle):
	}
	span := time.Since(begun).Seconds()
	for i, l := range lines {
		b.idleLine(state, names[i], b.wire.count(l).minus(packets[i]), span)
	}
	b.add(row{group: idleGroup(state), name: "bytes of the picture to the viewer", unit: "byte"}, float64(m.page.received()-picture))
	for i, p := range programs {
		now, err := processorTime(p.pid)
		if err != nil {
			return err
		}
		r := row{group: idleGroup(state), name: "processor: " + p.name, unit: "% core"}
		if i < 3 {
			r.goal = goalCPU
		}
		b.add(r, 100*(now-cpu[i]).Seconds()/span)
	}
	return nil
}

// processorTime returns what all threads of a process have used. Of threads
// that ended nothing is known; Go's rarely do.
func processorTime(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("process %d: no schedstat", pid)
	}
	var sum time.Duration
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // a thread ended just now
		}
		field, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", f, err)
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}

// pidOf finds a process of the stage by words of its command line; 0 if there
// is none.
func (b *bench) pidOf(words ...string) int {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		text, err := os.ReadFile(f)
		line := " " + strings.ReplaceAll(string(text), "\x00", " ")
		found := err == nil
		for _, w := range words {
			found = found && (strings.Contains(line, " "+w+" ") || strings.Contains(line, "/"+w+" "))
		}
		if found {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			return pid
		}
	}
	return 0
}

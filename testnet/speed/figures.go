//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
)

// A figure is what --only asks for, and the tests that it consists of.
type figure struct {
	name string
	last cable // that it is taken on; a single packet does not know them apart
	text string
}

var figures = []figure{
	{"ping", uso, "round trips: the middle and the last but one per cent; what wakes up"},
	{"tcp1", gro, "throughput of one TCP stream"},
	{"tcp4", noUSO, "throughput of four TCP streams"},
	{"retrans", noUSO, "what TCP had to send again, with one stream and with four"},
	{"udp", noUSO, "rate of UDP datagrams of 1200 bytes at a loss under 0.1 %"},
	{"cpu", gro, "processor time of the tunnel's two ends during one TCP stream"},
	{"allocs", noUSO, "allocations of the tunnel's two ends during one TCP stream"},
	{"server", uso, "solicitations and bubbles that a server on one core handles"},
	{"memory", uso, "resident memory, idle and with many peers; growth of the server"},
}

// A test is a part of the table.
type test struct {
	name, figure, title, unit string
	compared                  bool // with Miredo and the naive tunnel
}

var tests = []test{
	{"tcp1", "tcp1", "TCP, one stream", "Gbit/s", true},
	{"tcp4", "tcp4", "TCP, four streams", "Gbit/s", true},
	{"udp", "udp", "UDP 1200 B, loss < 0.1 %", "kpps", true},
	{"ping-p50", "ping", "Ping, p50", "µs", true},
	{"ping-p99", "ping", "Ping, p99", "µs", true},
	{"ping-wakes", "ping", "Threads woken a ping, both ends", "1", true},
	{"ping-cpu", "ping", "Tunnel CPU a ping, both ends", "µs", true},
	{"cpu-tx", "cpu", "Tunnel CPU, sending end", "ns/packet", true},
	{"cpu-rx", "cpu", "Tunnel CPU, receiving end", "ns/packet", true},
	{"allocs-tx", "allocs", "Allocations, sending end", "1/packet", false},
	{"allocs-rx", "allocs", "Allocations, receiving end", "1/packet", false},
	{"retrans1", "retrans", "TCP sent again, one stream", "1/1000", false},
	{"retrans4", "retrans", "TCP sent again, four streams", "1/1000", false},
	{"server-rs", "server", "Solicitations, one core", "1000/s", true},
	{"server-bubble", "server", "Bubbles forwarded, one core", "1000/s", true},
	{"server-rs-cpu", "server", "CPU a solicitation", "ns", true},
	{"server-bubble-cpu", "server", "CPU a bubble", "ns", true},
	{"rss", "memory", "Resident memory", "MiB", false},
	{"growth", "memory", "Its growth, first round to last", "x", false},
}

func title(name string) string {
	return tests[slices.IndexFunc(tests, func(t test) bool { return t.name == name })].title
}

// wants reports whether any of the figures was asked for and is taken on a wire.
func (c *config) wants(w cable, names ...string) bool {
	return slices.ContainsFunc(figures, func(f figure) bool {
		return f.last >= w && slices.Contains(names, f.name) && (len(c.only) == 0 || slices.Contains(c.only, f.name))
	})
}

// takes reports whether any of the kinds was asked for.
func (c *config) takes(ids ...string) bool {
	return len(c.paths) == 0 || slices.ContainsFunc(ids, func(id string) bool { return slices.Contains(c.paths, id) })
}

// carries reports whether a wire was asked for.
func (c *config) carries(w cable) bool {
	return len(c.wires) == 0 || slices.Contains(c.wires, cables[w].id)
}

// takesAny reports whether the table has a row.
func (c *config) takesAny() bool {
	for w := uso; w <= gro; w++ {
		figures := slices.ContainsFunc(figures, func(f figure) bool { return c.wants(w, f.name) })
		paths := slices.ContainsFunc(kinds, func(k kind) bool { return k.last >= w && c.takes(k.id) })
		if c.carries(w) && figures && paths {
			return true
		}
	}
	return false
}

// partial reports whether a part of the table was asked for.
func (c *config) partial() bool { return len(c.only)+len(c.paths)+len(c.wires) > 0 }

// figureNames explains --only.
func figureNames() string {
	var b strings.Builder
	for _, f := range figures {
		fmt.Fprintf(&b, "  %-14s %s\n", f.name, f.text)
	}
	return b.String()
}

//go:build linux

package main

import (
	"slices"
	"strings"
)

// Names of paths, as the table and the goals know them.
const (
	nameTUN         = "shipworm TUN"
	nameStack       = "shipworm stack to stack"
	nameTUNStack    = "shipworm TUN to stack"
	nameStackTUN    = "shipworm stack to TUN"
	nameRelayOut    = "shipworm relay, client to node"
	nameRelayIn     = "shipworm relay, node to client"
	nameMiredo      = "Miredo"
	nameNaive       = "naive tunnel"
	nameTUNPlain    = nameTUN + noUSO
	nameStackPlain  = nameStack + noUSO
	nameMiredoPlain = nameMiredo + noUSO
	nameNaivePlain  = nameNaive + noUSO

	nameMiredoRelayOut = "Miredo relay, client to node"
	nameMiredoRelayIn  = "Miredo relay, node to client"

	nameVXLAN = "kernel VXLAN"
	nameLine  = "the bare line"

	nameServer       = "shipworm server"
	nameMiredoServer = "miredo-server"
	nameClient       = "shipworm client, TUN"
	nameMiredoClient = "Miredo client, its three processes"

	noUSO     = ", no-USO wire"
	idle      = ", idle"
	manyPeers = ", 10,000 peers"
	afterMany = ", after a round"
)

// What a path is compared with, on the same wire and the same way.
var (
	miredoOf = map[string]string{
		nameTUN: nameMiredo, nameStack: nameMiredo, nameTUNStack: nameMiredo, nameStackTUN: nameMiredo,
		nameRelayOut: nameMiredoRelayOut, nameRelayIn: nameMiredoRelayIn,
		nameNaive: nameMiredo, nameVXLAN: nameMiredo, nameLine: nameMiredo,
		nameTUNPlain: nameMiredoPlain, nameStackPlain: nameMiredoPlain, nameNaivePlain: nameMiredoPlain,
		nameServer: nameMiredoServer,
	}
	naiveOf = map[string]string{
		nameTUN: nameNaive, nameStack: nameNaive, nameTUNStack: nameNaive, nameStackTUN: nameNaive,
		nameMiredo: nameNaive, nameVXLAN: nameNaive, nameLine: nameNaive,
		nameTUNPlain: nameNaivePlain, nameStackPlain: nameNaivePlain, nameMiredoPlain: nameNaivePlain,
	}
)

// A test is a part of the table.
type test struct {
	name, title, unit string
	compared          bool // with Miredo and the naive tunnel
}

var tests = []test{
	{"tcp1", "TCP, one stream", "Gbit/s", true},
	{"tcp4", "TCP, four streams", "Gbit/s", true},
	{"udp", "UDP 1200 B, loss < 0.1 %", "kpps", true},
	{"ping-p50", "Ping, p50", "µs", true},
	{"ping-p99", "Ping, p99", "µs", true},
	{"cpu-tx", "Tunnel CPU, sending end", "ns/packet", false},
	{"cpu-rx", "Tunnel CPU, receiving end", "ns/packet", false},
	{"allocs-tx", "Allocations, sending end", "1/packet", false},
	{"allocs-rx", "Allocations, receiving end", "1/packet", false},
	{"server-rs", "Solicitations, one core", "1000/s", true},
	{"server-bubble", "Bubbles forwarded, one core", "1000/s", true},
	{"rss", "Resident memory", "MiB", false},
	{"growth", "Its growth, first round to last", "x", false},
}

func testNames() string {
	var names []string
	for _, t := range tests {
		names = append(names, t.name)
	}
	return strings.Join(names, ", ")
}

func known(name string) bool {
	return slices.ContainsFunc(tests, func(t test) bool { return t.name == name })
}

func title(name string) string {
	return tests[slices.IndexFunc(tests, func(t test) bool { return t.name == name })].title
}

// wants reports whether any of the tests was asked for.
func (c *config) wants(names ...string) bool {
	return c.tests == nil || slices.ContainsFunc(names, func(n string) bool { return slices.Contains(c.tests, n) })
}

// partial reports whether a part of the table was asked for.
func (c *config) partial() bool { return c.tests != nil || c.only.String() != "" }

//go:build linux

package main

import (
	"slices"
	"strings"
)

// Names of paths, as the table and the goals know them.
const (
	nameTUN         = "shipworm TUN, USO wire"
	nameTUNPlain    = "shipworm TUN, no-USO wire"
	nameMiredo      = "Miredo, USO wire"
	nameMiredoPlain = "Miredo, no-USO wire"
	nameNaive       = "naive tunnel, USO wire"
	nameNaivePlain  = "naive tunnel, no-USO wire"
	nameVXLAN       = "kernel VXLAN"
	nameLine        = "the bare line"
)

// What a path is compared with, on the same wire and the same way.
var (
	miredoOf = map[string]string{
		nameTUN: nameMiredo, nameTUNPlain: nameMiredoPlain,
		nameNaive: nameMiredo, nameNaivePlain: nameMiredoPlain, nameVXLAN: nameMiredo, nameLine: nameMiredo,
	}
	naiveOf = map[string]string{
		nameTUN: nameNaive, nameTUNPlain: nameNaivePlain,
		nameMiredo: nameNaive, nameMiredoPlain: nameNaivePlain, nameVXLAN: nameNaive, nameLine: nameNaive,
	}
)

// A test is a part of the table.
type test struct {
	name, title, unit string
	compared          bool // with Miredo and the naive tunnel
}

var tests = []test{
	{"tcp1", "TCP, one stream", "Gbit/s", true},
	{"cpu-tx", "Tunnel CPU, sending end", "ns/packet", false},
	{"cpu-rx", "Tunnel CPU, receiving end", "ns/packet", false},
	{"allocs-tx", "Allocations, sending end", "1/packet", false},
	{"allocs-rx", "Allocations, receiving end", "1/packet", false},
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

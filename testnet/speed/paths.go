//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
)

// A cable is what the line between two tunnels does with runs of UDP datagrams.
type cable int

const (
	uso   cable = iota // takes them in one piece: the best there is
	noUSO              // has the kernel cut them first: what most lines do
	gro                // cuts them too, and its ends join what arrives, as a network card's driver does
)

// cables are all, in the order in which they are taken. What is taken on one is
// taken on those before as well.
var cables = []struct{ id, name string }{
	uso:   {"uso", "USO wire"},
	noUSO: {"no-uso", "no-USO wire"},
	gro:   {"gro", "GRO wire"},
}

// A kind is a way for packets, with a tunnel or without, or a server.
type kind struct {
	id, name      string
	last          cable  // that it is taken on
	miredo, naive string // what it is compared with, by id
}

// kinds are the rows of the table in their order. Those that are compared stand
// next to each other: they are taken in this order, or backwards, and what the
// machine does meanwhile changes by the second.
var kinds = []kind{
	{id: "line", name: "the bare line", miredo: "miredo", naive: "naive"},
	{id: "runs", name: "UDP runs on the bare line, no TCP", last: gro, miredo: "miredo", naive: "naive"},
	{id: "vxlan", name: "kernel VXLAN", miredo: "miredo", naive: "naive"},
	{id: "naive", name: "naive tunnel", last: gro, miredo: "miredo"},
	{id: "miredo", name: "Miredo", last: gro, naive: "naive"},
	{id: "tun", name: "shipworm TUN", last: gro, miredo: "miredo", naive: "naive"},
	{id: "stack", name: "shipworm stack to stack", last: gro, miredo: "miredo", naive: "naive"},
	{id: "stack-tun", name: "shipworm stack to TUN", miredo: "miredo", naive: "naive"},
	{id: "tun-stack", name: "shipworm TUN to stack", miredo: "miredo", naive: "naive"},
	{id: "tun-plain", name: "shipworm TUN, plain device", miredo: "miredo", naive: "naive"},
	{id: "relay-out", name: "shipworm relay, client to node", last: noUSO, miredo: "miredo-out"},
	{id: "miredo-out", name: "Miredo relay, client to node", last: noUSO},
	{id: "miredo-in", name: "Miredo relay, node to client", last: noUSO},
	{id: "relay-in", name: "shipworm relay, node to client", last: noUSO, miredo: "miredo-in"},
	{id: "server", name: "shipworm server", miredo: "miredo-server"},
	{id: "miredo-server", name: "miredo-server"},
}

// find returns a kind, nil for none.
func find(id string) *kind {
	if i := slices.IndexFunc(kinds, func(k kind) bool { return k.id == id }); i >= 0 {
		return &kinds[i]
	}
	return nil
}

// row names a kind on a wire, as the table does; empty for no kind.
func row(id string, w cable) string {
	k := find(id)
	switch {
	case k == nil:
		return ""
	case w == uso:
		return k.name
	}
	return k.name + ", " + cables[w].name
}

// compared returns what rows the row of the table is compared with.
func compared(name string) (miredo, naive string) {
	k, w := rowOf(name)
	if k == nil {
		return "", ""
	}
	return row(k.miredo, w), row(k.naive, w)
}

// rowOf returns what a row of the table is about; nil if it is no kind's.
func rowOf(name string) (*kind, cable) {
	for i := range kinds {
		for w := uso; w <= gro; w++ {
			if name == row(kinds[i].id, w) {
				return &kinds[i], w
			}
		}
	}
	return nil, 0
}

// kindIDs explains --paths.
func kindIDs() string {
	var b strings.Builder
	for _, k := range kinds {
		fmt.Fprintf(&b, "  %-14s %s\n", k.id, k.name)
	}
	return b.String()
}

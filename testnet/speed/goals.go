//go:build linux

package main

import "fmt"

// A goal is a promise about a series: its ratio to that of another path, or,
// without one, its value.
type goal struct {
	name, test string
	path, base string // kinds
	wire       cable
	program    string  // in place of path, where it is no kind
	least      float64 // for ratios and values that are to be high
	most       float64 // for those that are to be low
}

var goals = []goal{
	{name: "TUN, one TCP stream: x Miredo", test: "tcp1", path: "tun", base: "miredo", least: 10},
	{name: "TUN, one TCP stream: x naive", test: "tcp1", path: "tun", base: "naive", least: 6},
	{name: "TUN, one TCP stream, no-USO wire: x Miredo", test: "tcp1", path: "tun", wire: noUSO, base: "miredo", least: 6},
	{name: "TUN, one TCP stream, no-USO wire: x naive", test: "tcp1", path: "tun", wire: noUSO, base: "naive", least: 3.5},
	{name: "stack to stack, one TCP stream: x Miredo", test: "tcp1", path: "stack", base: "miredo", least: 8},
	{name: "stack to stack, one TCP stream: x our TUN", test: "tcp1", path: "stack", base: "tun", least: 0.75},
	{name: "relay, client to node, one TCP stream: x Miredo", test: "tcp1", path: "relay-out", base: "miredo-out", least: 8},
	{name: "relay, node to client, one TCP stream: x Miredo", test: "tcp1", path: "relay-in", base: "miredo-in", least: 8},
	{name: "TUN, UDP 1200 B at under 0.1 % loss: x Miredo", test: "udp", path: "tun", base: "miredo", least: 3},
	{name: "TUN, ping p50: x Miredo", test: "ping-p50", path: "tun", base: "miredo", most: 1},
	{name: "server on one core, solicitations: x miredo-server", test: "server-rs", path: "server", base: "miredo-server", least: 1.2},
	{name: "server on one core, bubbles: x miredo-server", test: "server-bubble", path: "server", base: "miredo-server", least: 1.2},
	{name: "TUN, tunnel CPU, sending end, ns/packet", test: "cpu-tx", path: "tun", most: 350},
	{name: "TUN, tunnel CPU, receiving end, ns/packet", test: "cpu-rx", path: "tun", most: 350},
	{name: "TUN, allocations a packet, sending end", test: "allocs-tx", path: "tun", most: noAllocs},
	{name: "TUN, allocations a packet, receiving end", test: "allocs-rx", path: "tun", most: noAllocs},
	{name: "stack, allocations a packet, sending end", test: "allocs-tx", path: "stack", most: 0.15},
	{name: "stack, allocations a packet, receiving end", test: "allocs-rx", path: "stack", most: 0.15},
	{name: "client with TUN, resident, idle, MiB", test: "rss", program: nameClient + idle, most: 25},
	{name: "client with TUN, resident, 10,000 peers, MiB", test: "rss", program: nameClient + manyPeers, most: 64},
	{name: "server, growth under 10^6 sources", test: "growth", path: "server", most: 1.1},
}

// noAllocs is what counts as none: a timer or a log line now and then is not
// on the way of a packet.
const noAllocs = 0.001

// A result is how a goal came out.
type result struct {
	Name     string  `json:"name"`
	Goal     string  `json:"goal"`
	Measured string  `json:"measured,omitempty"`
	Value    float64 `json:"value"`
	Result   string  `json:"result"` // met, NOT MET, not measured
}

func (b *bench) results() (out []result) {
	for _, g := range goals {
		r := result{Name: g.name, Goal: fmt.Sprintf(">= %g", g.least), Result: "not measured"}
		if g.most != 0 {
			r.Goal = fmt.Sprintf("<= %g", g.most)
		}
		name := g.program
		if g.path != "" {
			name = row(g.path, g.wire)
		}
		points := b.points[series{g.test, name}]
		var s *spread
		if g.base != "" {
			s = ratio(points, b.points[series{g.test, row(g.base, g.wire)}])
		} else if len(points) > 0 {
			v := spreadOf(values(points))
			s = &v
		}
		if s != nil {
			r.Value, r.Measured, r.Result = s.Median, number(s.Median), "NOT MET"
			if (g.most == 0 || s.Median <= g.most) && s.Median >= g.least {
				r.Result = "met"
			}
		}
		if s != nil || !b.cfg.partial() {
			out = append(out, r)
		}
	}
	return out
}

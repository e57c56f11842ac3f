//go:build linux

package main

import "fmt"

// A goal is a promise about a series: its ratio to that of another path, or,
// without one, its value.
type goal struct {
	name       string
	test, path string
	base       string
	least      float64 // for ratios and values that are to be high
	most       float64 // for those that are to be low
}

var goals = []goal{
	{name: "TUN, one TCP stream: x Miredo", test: "tcp1", path: nameTUN, base: nameMiredo, least: 10},
	{name: "TUN, one TCP stream: x naive", test: "tcp1", path: nameTUN, base: nameNaive, least: 6},
	{name: "TUN, one TCP stream, no-USO wire: x Miredo", test: "tcp1", path: nameTUNPlain, base: nameMiredoPlain, least: 6},
	{name: "TUN, one TCP stream, no-USO wire: x naive", test: "tcp1", path: nameTUNPlain, base: nameNaivePlain, least: 3.5},
	{name: "stack to stack, one TCP stream: x Miredo", test: "tcp1", path: nameStack, base: nameMiredo, least: 8},
	{name: "stack to stack, one TCP stream: x our TUN", test: "tcp1", path: nameStack, base: nameTUN, least: 0.75},
	{name: "relay, client to node: x Miredo", test: "tcp1", path: nameRelayOut, base: nameMiredoRelayOut, least: 8},
	{name: "relay, node to client: x Miredo", test: "tcp1", path: nameRelayIn, base: nameMiredoRelayIn, least: 8},
	{name: "TUN, UDP 1200 B at under 0.1 % loss: x Miredo", test: "udp", path: nameTUN, base: nameMiredo, least: 3},
	{name: "stack to stack, UDP 1200 B at under 0.1 % loss: x Miredo", test: "udp", path: nameStack, base: nameMiredo, least: 3},
	{name: "TUN, ping p50: x Miredo", test: "ping-p50", path: nameTUN, base: nameMiredo, most: 1},
	{name: "server on one core, solicitations: x miredo-server", test: "server-rs", path: nameServer, base: nameMiredoServer, least: 1.2},
	{name: "server on one core, bubbles: x miredo-server", test: "server-bubble", path: nameServer, base: nameMiredoServer, least: 1.2},
	{name: "TUN, tunnel CPU, sending end, ns/packet", test: "cpu-tx", path: nameTUN, most: 350},
	{name: "TUN, tunnel CPU, receiving end, ns/packet", test: "cpu-rx", path: nameTUN, most: 350},
	{name: "TUN, allocations a packet, sending end", test: "allocs-tx", path: nameTUN, most: noAllocs},
	{name: "TUN, allocations a packet, receiving end", test: "allocs-rx", path: nameTUN, most: noAllocs},
	{name: "stack, allocations a packet, sending end", test: "allocs-tx", path: nameStack, most: 0.15},
	{name: "stack, allocations a packet, receiving end", test: "allocs-rx", path: nameStack, most: 0.15},
	{name: "client with TUN, resident, idle, MiB", test: "rss", path: nameClient + idle, most: 25},
	{name: "client with TUN, resident, 10,000 peers, MiB", test: "rss", path: nameClient + manyPeers, most: 64},
	{name: "server, growth under 10^6 sources", test: "growth", path: nameServer, most: 1.1},
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
		values := b.values[series{g.test, g.path}]
		var s *spread
		if g.base != "" {
			s = ratio(values, b.values[series{g.test, g.base}])
		} else if len(values) > 0 {
			v := spreadOf(values)
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

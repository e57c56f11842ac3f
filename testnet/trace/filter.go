package trace

import (
	"net/netip"
	"slices"
	"strings"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/sim"
)

// A Filter selects journeys; the zero value selects all. A journey is in or out
// as a whole, so that no packet appears from nowhere.
type Filter struct {
	// Nodes selects journeys that touch one of these hosts or routers.
	Nodes []string
	// Flow selects journeys that were, on some line, between these endpoints in
	// either direction, with an inside or an outside address. Port 0 is any
	// port, the zero value any endpoint.
	Flow [2]netip.AddrPort
	// Dropped selects journeys that ended in a drop.
	Dropped bool
	// Limit bounds the events; the first ones stay. 0 = no bound.
	Limit int
}

func (f Filter) open() bool {
	return len(f.Nodes) == 0 && f.Flow == [2]netip.AddrPort{} && !f.Dropped
}

// filter keeps what f selects.
func (t *Trace) filter(f Filter) {
	if !f.open() {
		const node, flow, drop = 1, 2, 4
		have := make(map[uint64]int)
		want := 0
		if len(f.Nodes) > 0 {
			want |= node
		}
		if f.Flow != [2]netip.AddrPort{} {
			want |= flow
		}
		if f.Dropped {
			want |= drop
		}
		for _, e := range t.Events {
			if slices.Contains(f.Nodes, e.Node) || slices.Contains(f.Nodes, lineOf(e.Node)) {
				have[e.Journey] |= node
			}
			if want&flow != 0 && (f.between(e.Data) || f.between(e.Before)) {
				have[e.Journey] |= flow
			}
			if e.Kind == sim.Dropped {
				have[e.Journey] |= drop
			}
		}
		for _, p := range t.Packets {
			if slices.Contains(f.Nodes, p.Line) {
				have[p.Journey] |= node
			}
			if want&flow != 0 && f.between(p.Data) {
				have[p.Journey] |= flow
			}
		}
		t.Events = slices.DeleteFunc(t.Events, func(e Event) bool { return have[e.Journey]&want != want })
		t.Packets = slices.DeleteFunc(t.Packets, func(p Packet) bool { return have[p.Journey]&want != want })
	}
	if f.Limit > 0 && len(t.Events) > f.Limit {
		t.Left = len(t.Events) - f.Limit
		end := t.Events[f.Limit].seq
		t.Events = t.Events[:f.Limit]
		i := slices.IndexFunc(t.Packets, func(p Packet) bool { return p.seq > end })
		if i >= 0 {
			t.Packets = t.Packets[:i]
		}
	}
}

// between reports whether a packet belongs to the flow.
func (f Filter) between(b []byte) bool {
	src, dst, ok := endpoints(b)
	if !ok {
		return false
	}
	is := func(want, have netip.AddrPort) bool {
		return (!want.Addr().IsValid() || want.Addr() == have.Addr()) && (want.Port() == 0 || want.Port() == have.Port())
	}
	return is(f.Flow[0], src) && is(f.Flow[1], dst) || is(f.Flow[0], dst) && is(f.Flow[1], src)
}

// endpoints returns source and destination of a packet; the ports are 0 where
// the protocol has none or they are in another fragment.
func endpoints(b []byte) (src, dst netip.AddrPort, ok bool) {
	pkt, n, ok := ipv4.Check(b)
	if !ok {
		return src, dst, false
	}
	var from, to uint16
	if p := ipv4.Proto(pkt); (p == ipv4.UDP || p == ipv4.TCP) && ipv4.FragmentOffset(pkt) == 0 && len(pkt) >= n+4 {
		from, to = be.Uint16(pkt[n:]), be.Uint16(pkt[n+2:])
	}
	return netip.AddrPortFrom(ipv4.Addr(ipv4.Src(pkt)), from), netip.AddrPortFrom(ipv4.Addr(ipv4.Dst(pkt)), to), true
}

// lineOf returns the host or router that an event's node belongs to: itself,
// the owner of a line, or the router of a LAN.
func lineOf(node string) string {
	for _, s := range []string{up, down, "/lan"} {
		if n, ok := strings.CutSuffix(node, s); ok {
			return n
		}
	}
	return node
}

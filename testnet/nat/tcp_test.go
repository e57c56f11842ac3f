package nat_test

import (
	"net/netip"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/nat"
)

// segment sends a TCP segment through the NAT; from tells the direction.
func (b *bench) segment(outbound bool, from, to netip.AddrPort, flags byte) (netip.AddrPort, netip.AddrPort, nat.Verdict) {
	b.t.Helper()
	b.id++
	pkt := ipv4.AppendTCP(nil, b.id, from, to, flags, nil)
	var v nat.Verdict
	if outbound {
		v = b.outbound(pkt)
	} else {
		v = b.inbound(pkt)
	}
	src, dst := ends(pkt)
	return src, dst, v
}

// RFC 5382, 5, REQ-5: an established connection lives 2 h 4 min idle, one that
// is opening, closing or was reset four minutes.
func TestRFC5382_REQ5_Lifetimes(t *testing.T) {
	const (
		syn, ack, fin, rst = ipv4.SYN, ipv4.ACK, ipv4.FIN, ipv4.RST
		established        = 2*time.Hour + 4*time.Minute
		transitory         = 4 * time.Minute
	)
	type step struct {
		outbound bool
		flags    byte
	}
	handshake := []step{{true, syn}, {false, syn | ack}, {true, ack}}
	for _, tc := range []struct {
		name  string
		steps []step
		want  time.Duration
	}{
		{"SYN only", []step{{true, syn}}, transitory},
		{"established", handshake, established},
		{"half closed", append(handshake[:3:3], step{true, fin | ack}), established},
		{"closed", append(handshake[:3:3], step{true, fin | ack}, step{false, fin | ack}, step{true, ack}), transitory},
		{"reset", append(handshake[:3:3], step{false, rst}), transitory},
		{"opened again", append(handshake[:3:3], step{false, rst}, step{true, syn}, step{false, syn | ack}, step{true, ack}), established},
	} {
		for _, mapping := range []nat.Behavior{ei, apd} {
			t.Run(tc.name+" "+mapping.String(), func(t *testing.T) {
				b := newBench(t, nat.Config{Mapping: mapping, Filtering: apd})
				var x netip.AddrPort
				for i, s := range tc.steps {
					var v nat.Verdict
					if s.outbound {
						x, _, v = b.segment(true, inA1, outX1, s.flags)
					} else {
						_, _, v = b.segment(false, outX1, x, s.flags)
					}
					if v.Action != nat.Forward {
						t.Fatalf("step %d: %v", i, v.Reason)
					}
				}
				b.wait(tc.want - 1)
				if n := len(b.nat.Mappings(b.now)); n != 1 {
					t.Fatalf("%d mappings 1 ns before the end", n)
				}
				b.wait(1)
				if n := len(b.nat.Mappings(b.now)); n != 0 {
					t.Errorf("%d mappings at the end: %v", n, b.nat.Mappings(b.now))
				}
			})
		}
	}
}

// Connections that share a mapping have lifetimes of their own; the mapping
// has that of the longest.
func TestTCPSharedMapping(t *testing.T) {
	b := newBench(t, nat.Config{Filtering: ad})
	open := func(to netip.AddrPort) netip.AddrPort {
		x, _, _ := b.segment(true, inA1, to, ipv4.SYN)
		b.segment(false, to, x, ipv4.SYN|ipv4.ACK)
		b.segment(true, inA1, to, ipv4.ACK)
		return x
	}
	x := open(outX1)
	if y := open(outY1); y != x {
		t.Fatalf("endpoint-independent, but %v and %v", x, y)
	}
	b.segment(false, outX1, x, ipv4.RST)
	b.wait(5 * time.Minute)
	if _, dst, v := b.segment(false, outY1, x, ipv4.ACK); v.Action != nat.Forward || dst != inA1 {
		t.Errorf("the other connection died too: %v", v.Reason)
	}
}

// RFC 5382, 4.1 and 4.3: the filter is that of UDP.
func TestRFC5382_REQ3_Filtering(t *testing.T) {
	for _, tc := range []struct {
		filtering      nat.Behavior
		port, stranger nat.Reason
	}{
		{ei, nat.Permitted, nat.Permitted},
		{ad, nat.Permitted, nat.FilteredAddress},
		{apd, nat.FilteredPort, nat.FilteredAddress},
	} {
		b := newBench(t, nat.Config{Filtering: tc.filtering})
		x, _, _ := b.segment(true, inA1, outX1, ipv4.SYN)
		if _, _, v := b.segment(false, outX2, x, ipv4.SYN); v.Reason != tc.port {
			t.Errorf("%v, other port: %v", tc.filtering, v.Reason)
		}
		if _, _, v := b.segment(false, outY1, x, ipv4.SYN); v.Reason != tc.stranger {
			t.Errorf("%v, other address: %v", tc.filtering, v.Reason)
		}
	}
}

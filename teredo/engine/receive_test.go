package engine_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
)

var peerPort = addrPort("192.0.2.10:8192")

// T-04, T-23, T-36: what cannot be honest is dropped and counted, whoever
// sends it.
func TestReceiveDropped(t *testing.T) {
	own := qualifiedRig(t).own
	peer := peerAt(peerPort)
	otherFlags := wire.AddressFrom(primary, flagsOf(own)^1, mapping).Addr()
	for _, test := range []struct {
		name string
		from netip.AddrPort
		b    []byte
		drop engine.Drop
	}{
		{"not our flags", peerPort, udp(peer, otherFlags, 100), engine.DropNotOurs},
		{"to another host", peerPort, udp(peer, native, 100), engine.DropNotOurs},
		{"to a group", peerPort, udp(peer, wire.AllNodes(), 100), engine.DropNotOurs},
		{"native, to another host", relay, udp(native, other, 100), engine.DropNotOurs},
		{"bubble, to another host", serverPort, indirect(peer, other, peerPort), engine.DropNotOurs},
		{"from ourselves", peerPort, udp(own, own, 100), engine.DropLoop},
		{"from our mapping", mapping, udp(peer, own, 100), engine.DropLoop},
		{"embeds our mapping", mapping, udp(otherFlags, own, 100), engine.DropLoop},
		{"Teredo source elsewhere", addrPort("192.0.2.11:8192"), udp(peer, own, 100), engine.DropMismatch},
		{"Teredo source, other port", addrPort("192.0.2.10:8193"), udp(peer, own, 100), engine.DropMismatch},
		{"Teredo source, private", addrPort("10.0.0.5:8192"), udp(peerAt(addrPort("10.0.0.5:8192")), own, 100), engine.DropDenied},
		{"unspecified", peerPort, udp(addr("::"), own, 100), engine.DropInnerSource},
		{"loopback", peerPort, udp(addr("::1"), own, 100), engine.DropInnerSource},
		{"multicast", peerPort, udp(addr("ff02::1"), own, 100), engine.DropInnerSource},
		{"IPv4-compatible", peerPort, udp(addr("::192.0.2.1"), own, 100), engine.DropInnerSource},
		{"IPv4-mapped", peerPort, udp(addr("::ffff:192.0.2.1"), own, 100), engine.DropInnerSource},
		{"unique local fc00", peerPort, udp(addr("fc00::1"), own, 100), engine.DropInnerSource},
		{"unique local fd00", peerPort, udp(addr("fdff::1"), own, 100), engine.DropInnerSource},
		{"link-local fe80", peerPort, udp(addr("fe80::1"), own, 100), engine.DropInnerSource},
		{"link-local febf", peerPort, udp(addr("febf::1"), own, 100), engine.DropInnerSource},
		{"6to4 of a private address", peerPort, udp(addr("2002:a00:1::1"), own, 100), engine.DropInnerSource},
		{"link-local bubble, direct", peerPort, wire.AppendBubble(nil, addr("fe80::1"), own, 0), engine.DropLinkLocal},
		{"link-local bubble, private origin", serverPort, indirect(addr("fe80::1"), own, addrPort("10.0.0.1:5000")), engine.DropDenied},
		{"bubble, origin port 0", serverPort, indirect(addr("fe80::1"), own, addrPort("192.0.2.9:0")), engine.DropDeniedPort},
		{"bubble, origin port 53", serverPort, indirect(addr("fe80::1"), own, addrPort("192.0.2.9:53")), engine.DropDeniedPort},
		{"bubble, origin is our mapping", serverPort, indirect(addr("fe80::1"), own, mapping), engine.DropLoop},
		{"bubble, origin is the server", serverPort, indirect(addr("fe80::1"), own, serverPort), engine.DropLoop},
		{"bubble, origin not the source's", serverPort, indirect(peer, own, addrPort("192.0.2.11:8192")), engine.DropMismatch},
		{"bubble from a unique local source", serverPort, indirect(addr("fd00::1"), own, relay), engine.DropInnerSource},
		{"bubble from a group", serverPort, indirect(addr("ff02::1"), own, relay), engine.DropInnerSource},
		{"bubble without origin", serverPort, wire.AppendBubble(nil, addr("fe80::1"), own, 0), engine.DropInnerSource},
		{"bubble that asks to be discarded", peerPort, append(wire.AppendBubble(nil, peer, own, 0), 0x40, 0), engine.DropTrailer},
		{"short", peerPort, make([]byte, 3), engine.DropMalformed},
		{"empty", peerPort, nil, engine.DropMalformed},
		{"IPv4", peerPort, append([]byte{0x45}, make([]byte, 60)...), engine.DropHeader},
		{"routing header", peerPort, packet(peer, own, wire.ProtoRouting, make([]byte, 24)), engine.DropRouting},
		{"jumbo", peerPort, packet(peer, own, 0, []byte{17, 0, 0xc2, 4, 0, 1, 0, 0, 0, 0}), engine.DropExtension},
		{"advertisement to our address", peerPort, packet(peer, own, wire.ProtoICMPv6, append([]byte{134}, make([]byte, 15)...)), engine.DropRASource},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := qualifiedRig(t)
			r.expectDrop(t, test.drop, func() []engine.Transmit { return r.receive(test.from, test.b) })
		})
	}
	t.Run("trusted, to another host", func(t *testing.T) {
		r := qualifiedRig(t)
		r.connect(peer, peerPort)
		for _, dst := range []netip.Addr{otherFlags, native, wire.AllNodes()} {
			r.expectDrop(t, engine.DropNotOurs, func() []engine.Transmit { return r.receive(peerPort, udp(peer, dst, 100)) })
		}
	})
	t.Run("before qualification", func(t *testing.T) {
		r := newRig(t, nil)
		r.begin()
		r.expectDrop(t, engine.DropNotQualified, func() []engine.Transmit { return r.receive(peerPort, udp(peer, own, 100)) })
	})
}

// T-24: no Neighbor or Listener Discovery message reaches the host, not even
// from a trusted peer, behind extension headers or in a fragment.
func TestReceiveDiscovery(t *testing.T) {
	r := qualifiedRig(t)
	peer := peerAt(peerPort)
	r.connect(peer, peerPort)
	for kind := range 256 {
		message := append([]byte{byte(kind)}, make([]byte, 15)...)
		behind := append([]byte{wire.ProtoICMPv6, 0, 1, 4, 0, 0, 0, 0}, message...)
		fragmented := append([]byte{wire.ProtoICMPv6, 0, 0, 1, 0, 0, 0, 0}, message...)
		blocked := (kind >= 130 && kind <= 137) || kind == 143 || (kind >= 151 && kind <= 153)
		for _, b := range [][]byte{
			packet(peer, r.own, wire.ProtoICMPv6, message),
			packet(peer, r.own, wire.ProtoDestination, behind),
			packet(peer, r.own, wire.ProtoFragment, fragmented),
		} {
			before := r.drops(engine.DropDiscovery)
			r.receive(peerPort, b)
			dropped := r.drops(engine.DropDiscovery) - before
			if n := r.delivered(); (n == 0) != blocked || (dropped == 1) != blocked {
				t.Errorf("type %d: %d delivered, %d dropped", kind, n, dropped)
			}
		}
	}
}

// A packet straight from a Teredo peer makes it known (RFC 4380, 5.2.3, case
// 3); bubbles are not delivered (TR-08).
func TestReceiveMatching(t *testing.T) {
	r := qualifiedRig(t)
	peer := peerAt(peerPort)
	r.receive(peerPort, udp(peer, r.own, 100))
	if r.delivered() != 1 {
		t.Fatalf("not delivered: %v", r.c.Snapshot().Drops)
	}
	sent := r.send(udp(r.own, peer, 120))
	if len(sent) != 2 || wire.Packet(sent[0].Payload).NextHeader() != wire.ProtoICMPv6 || sent[1].To != peerPort || len(sent[1].Payload) != 120 {
		t.Fatalf("answer went as %v, want an echo request that asks for a proof before it", sent)
	}
	for range 3 {
		r.receive(peerPort, wire.AppendBubble(nil, peer, r.own, 64))
	}
	if r.delivered() != 0 {
		t.Error("a bubble was delivered")
	}
}

// A client that hides behind a link-local address, as Miredo's do, and a relay
// are answered with the addresses swapped, at the origin.
func TestReceiveLinkLocalBubble(t *testing.T) {
	for _, src := range []netip.Addr{addr("fe80::203f:197c:743e:458a"), native} {
		r := qualifiedRig(t)
		sent := r.receive(serverPort, indirect(src, r.own, relay))
		var d wire.Datagram
		if len(sent) != 1 || sent[0].To != relay || wire.Parse(sent[0].Payload, &d) != nil {
			t.Fatalf("answered with %v, %v", sent, r.c.Snapshot().Drops)
		}
		if !d.IPv6.IsBubble() || d.IPv6.Source() != r.own || d.IPv6.Destination() != src || len(d.Trailers) != 0 {
			t.Errorf("answer %x", sent[0].Payload)
		}
	}
}

// TR-07: a bubble that names its sender is answered, and starts our own
// attempt at once: an indirect bubble through the sender's server.
func TestReceiveIndirectBubble(t *testing.T) {
	for _, origin := range []netip.AddrPort{peerPort, {}} { // some servers leave it out
		r := qualifiedRig(t)
		peer := peerAt(peerPort)
		sent := r.receive(serverPort, indirect(peer, r.own, origin))
		if len(sent) != 2 || sent[0].To != peerPort || sent[1].To != addrPort("192.0.2.77:3544") || bubbles(sent) != 2 {
			t.Fatalf("sent %v", sent)
		}
		if more := r.pass(2 * time.Second); len(more) != 3 { // one with a link-local source
			t.Errorf("after 2 s sent %v", more)
		}
		r.receive(peerPort, wire.AppendBubble(nil, peer, r.own, 64))
		if p, _ := r.c.Peer(r.now, peer); !p.Up || p.Trying {
			t.Errorf("after the answer: %+v", p)
		}
		if more := r.pass(10 * time.Second); bubbles(more) != 0 {
			t.Errorf("went on with %v", more)
		}
	}
}

// T-33: nothing that arrives, in whatever number, takes down a peer that is up.
func TestStormKeepsFlow(t *testing.T) {
	r := qualifiedRig(t)
	peer := peerAt(peerPort)
	r.connect(peer, peerPort)
	icmp := packet(addr("2001:db8::bad"), r.own, wire.ProtoICMPv6, append([]byte{1, 3, 0, 0, 0, 0, 0, 0}, udp(r.own, peer, 100)...))
	for i := range 5000 {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 3545)
		r.receive(from, icmp)
		r.receive(serverPort, icmp)
		r.receive(from, slices.Concat([]byte{0}, icmp))
	}
	if p, _ := r.c.Peer(r.now, peer); !p.Up || p.Endpoint != peerPort {
		t.Errorf("peer is now %+v", p)
	}
	if sent := r.send(udp(r.own, peer, 100)); len(sent) != 1 {
		t.Errorf("sent %v", sent)
	}
}

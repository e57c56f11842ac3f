package engine_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
)

// fuzzSeeds are datagrams of every shape.
func fuzzSeeds(own netip.Addr) [][]byte {
	peer := peerAt(peerPort)
	ra := wire.Advertisement{Src: wire.ServerLinkLocal(primary), Dst: wire.ClientLinkLocal(false), Server: primary, MTU: 1280}
	return [][]byte{
		nil, {0}, {0, 1, 255, 255},
		wire.AppendAdvertisement(wire.AppendOrigin(wire.AppendNonce(nil, [8]byte{1}), mapping), &ra),
		indirect(peer, own, peerPort), indirect(addr("fe80::1"), own, relay), indirect(native, own, relay),
		wire.AppendTrailers(wire.AppendBubble(nil, peer, own, 0), &wire.Trailers{HasNonce: true, RandomPort: 5, Discovery: wire.DiscoverySolicitation}),
		wire.AppendTrailers(indirect(peer, own, peerPort), &wire.Trailers{HasNonce: true, Nonce: [4]byte{1}, RandomPort: 50000,
			Announce: wire.Announcement{Present: true, NAT: wire.NATSequential, Aim: 50001}}),
		wire.AppendTrailers(indirect(neighbour, own, neighbourPort), &wire.Trailers{HasNonce: true, Nonce: [4]byte{2}, Alternates: 2,
			Alternate: [4]netip.AddrPort{addrPort("192.168.1.3:50000"), addrPort("10.0.0.1:50000")}}),
		udp(peer, own, 100), udp(native, own, 60), echo(native, own, 28), echo(peer, own, 16),
		packet(peer, own, 0, []byte{58, 0, 1, 4, 0, 0, 0, 0, 134, 0, 0, 0, 0, 0, 0, 0}),
		solicitation(false), solicitation(true),
	}
}

// checkSent fails if a datagram goes where none may go, the neighbours' ways
// excepted.
func checkSent(t *testing.T, sent []engine.Transmit, neighbours ...netip.AddrPort) {
	t.Helper()
	for _, s := range sent {
		if denied(s.To) && !slices.Contains(neighbours, s.To) {
			t.Errorf("sent %d bytes to %v", len(s.Payload), s.To)
		}
		var d wire.Datagram
		if err := wire.Parse(s.Payload, &d); err != nil {
			t.Errorf("sent %x: %v", s.Payload, err)
		}
	}
}

// named returns the addresses that a datagram from the server may have a client
// on 192.168.1.0/24 send to though they are denied: the alternate ones of a
// client behind the same NAT, on that network (T-17).
func named(b []byte) (to []netip.AddrPort) {
	var d wire.Datagram
	var tr wire.Trailers
	if wire.Parse(b, &d) != nil || !d.IPv6.IsBubble() || wire.ParseTrailers(d.Trailers, &tr) != nil {
		return nil
	}
	if a, ok := wire.AddressFromAddr(d.IPv6.Source()); !ok || a.Mapped().Addr() != mapping.Addr() {
		return nil
	}
	for _, a := range tr.Alternate[:tr.Alternates] {
		if ip := a.Addr().As4(); [3]byte(ip[:3]) == [3]byte{192, 168, 1} && ip[3] != 2 && a.Port() >= 1024 {
			to = append(to, a)
		}
	}
	return to
}

// denied says independently of the machines what T-01 forbids.
func denied(ap netip.AddrPort) bool {
	ip := ap.Addr()
	b := ip.As4()
	return ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || b[0] == 0 || b[0] >= 224 ||
		(b[0] == 100 && b[1]&0xc0 == 64) || [3]byte(b[:3]) == [3]byte{192, 0, 0} || [3]byte(b[:3]) == [3]byte{192, 88, 99} || ap.Port() == 0
}

// FuzzClientReceive: any two datagrams, one after the other, from the server, a
// peer, a relay or anybody, leave a client that runs on, sends to nobody it
// must not, and delivers only what is its own.
func FuzzClientReceive(f *testing.F) {
	own := qualifiedRig(f).own
	seeds := fuzzSeeds(own)
	for i, b := range seeds {
		f.Add(byte(i), uint32(0xc000020a), uint16(8192), b, seeds[(i+5)%len(seeds)])
	}
	f.Fuzz(func(t *testing.T, who byte, ip uint32, port uint16, first, second []byte) {
		r := qualifiedRig(t)
		peer := peerAt(peerPort)
		switch who >> 6 {
		case 0:
			if who>>3&1 != 0 { // with a network where neighbours may be
				r = newRig(t, inside)
				r.receive(serverPort, r.advertise(r.begin()[0], mapping))
				r.own = r.c.Snapshot().Address.Addr()
			}
		case 1:
			r.become(mapping.Port() + 2) // sequential: extra ports
			r.send(udp(r.own, peer, 100))
		case 2:
			r.connect(peer, peerPort)
		case 3:
			r.become(mapping.Port() + 1000) // random
			r.send(udp(r.own, peer, 100))
		}
		anybody := netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(ip >> 24), byte(ip >> 16), byte(ip >> 8), byte(ip)}), port)
		from := []netip.AddrPort{serverPort, peerPort, relay, anybody}[who&3]
		var neighbours []netip.AddrPort
		for _, b := range [][]byte{first, second} {
			if who>>6 == 0 && who>>3&1 != 0 && from == serverPort {
				neighbours = append(neighbours, named(b)...)
			}
			r.out.Reset()
			r.c.ReceiveOn(r.now, port*uint16(who>>5&1), from, b, &r.out)
			checkSent(t, r.out.Transmit, neighbours...)
			for _, p := range r.out.Deliver {
				if wire.Packet(p).Destination() != r.own || wire.Packet(p).IsBubble() {
					t.Errorf("delivered %x", p)
				}
			}
			r.now = r.now.Add(100 * time.Millisecond)
		}
		r.out.Reset()
		checkSent(t, r.pass(20*time.Second), neighbours...)
		if n := r.c.Snapshot().Queued; n < 0 || n > 4<<20 {
			t.Errorf("%d bytes queued", n)
		}
	})
}

// FuzzClientPorts: the same at the ports of the cone test, of the interval's
// determination and of a peer, and where neighbours announce themselves.
func FuzzClientPorts(f *testing.F) {
	own := qualifiedRig(f).own
	seeds := append(fuzzSeeds(own), wire.AppendBubble(nil, neighbour, wire.AllNodes(), 1))
	for i, b := range seeds {
		f.Add(byte(i), b, seeds[(i+5)%len(seeds)])
	}
	f.Fuzz(func(t *testing.T, who byte, first, second []byte) {
		r := newRig(t, func(c *engine.ClientConfig) {
			inside(c)
			c.Secondary, c.ConeTest, c.FindRefresh, c.LocalDiscovery = secondary, true, true, true
		})
		sent := r.receive(serverPort, r.advertise(r.begin()[0], mapping))
		r.own = r.c.Snapshot().Address.Addr()
		r.receive(secondaryPort, r.advertise(sent[0], netip.AddrPortFrom(mapping.Addr(), mapping.Port()+2)))
		r.send(udp(r.own, peerAt(peerPort), 100))
		ports := r.out.Open
		if len(ports) != 3 {
			t.Fatalf("opened %v", ports)
		}
		from := []netip.AddrPort{serverPort, secondaryPort, peerPort, addrPort("192.168.1.3:50000")}[who&3]
		neighbours := []netip.AddrPort{engine.LocalGroup()}
		if who&3 == 3 {
			neighbours = append(neighbours, from) // it may announce itself
		}
		for _, b := range [][]byte{first, second} {
			r.out.Reset()
			if i := int(who >> 2 & 3); i < len(ports) {
				r.c.ReceiveOn(r.now, ports[i], from, b, &r.out)
			} else {
				r.c.ReceiveLocal(r.now, from, b, &r.out)
			}
			checkSent(t, r.out.Transmit, neighbours...)
			for _, p := range r.out.Deliver {
				if wire.Packet(p).Destination() != r.own || wire.Packet(p).IsBubble() {
					t.Errorf("delivered %x", p)
				}
			}
			r.now = r.now.Add(100 * time.Millisecond)
		}
		r.out.Reset()
		checkSent(t, r.pass(5*time.Minute), neighbours...)
	})
}

// FuzzClientSend: whatever the host sends, the client runs on and sends to
// nobody it must not, and nothing but bubbles and tests to a peer not proven.
func FuzzClientSend(f *testing.F) {
	own := qualifiedRig(f).own
	for _, dst := range []netip.Addr{peerAt(peerPort), native, own, addr("ff02::1"), addr("::1"), peerAt(addrPort("10.0.0.1:80"))} {
		f.Add(udp(own, dst, 100))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := qualifiedRig(t)
		if len(b) >= wire.HeaderSize {
			src := r.own.As16()
			copy(b[8:24], src[:])
		}
		for range 2 {
			r.out.Reset()
			r.c.Send(r.now, b, &r.out)
			checkSent(t, r.out.Transmit)
			for _, s := range r.out.Transmit {
				if len(s.Payload) > 80 {
					t.Errorf("sent %x to %v", s.Payload, s.To)
				}
			}
			r.now = r.now.Add(2 * time.Second)
			r.out.Reset()
			r.c.Tick(r.now, &r.out)
			checkSent(t, r.out.Transmit)
		}
	})
}

// FuzzServerReceive: any datagram causes at most one, to nobody it must not
// go to, and not much larger.
func FuzzServerReceive(f *testing.F) {
	for _, b := range append(fuzzSeeds(client), wire.AppendBubble(nil, client, other, 0), echo(client, native, 28)) {
		f.Add(true, uint32(0xc6336407), uint16(40001), b)
		f.Add(false, uint32(0xcb007101), uint16(3544), b)
	}
	f.Fuzz(func(t *testing.T, primaryAddress bool, ip uint32, port uint16, b []byte) {
		r := newServer(t, nil)
		local := 1
		if primaryAddress {
			local = 0
		}
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(ip >> 24), byte(ip >> 16), byte(ip >> 8), byte(ip)}), port)
		r.s.Receive(r.now, local, from, b, &r.out)
		if n := len(r.out.Transmit) + len(r.out.Native); n > 1 {
			t.Errorf("%d packets", n)
		}
		for _, s := range r.out.Transmit {
			if denied(s.To) || s.To.Addr() == primary || s.To.Addr() == secondary || float64(len(s.Payload)) > 2.2*float64(len(b)) {
				t.Errorf("sent %d bytes to %v for %d bytes from %v", len(s.Payload), s.To, len(b), from)
			}
			var d wire.Datagram
			if err := wire.Parse(s.Payload, &d); err != nil {
				t.Errorf("sent %x: %v", s.Payload, err)
			}
		}
	})
}

// T-01: well-formed packets of every kind with random addresses in them make
// neither client nor server send to a denied one.
func TestRandomAddresses(t *testing.T) {
	dice := rand.New(rand.NewPCG(3, 3))
	bad := []string{"10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.1.1", "172.16.0.1", "192.168.1.1", "192.0.0.1", "192.88.99.1", "224.0.0.1", "255.255.255.255", "0.0.0.1", "240.0.0.1"}
	draw := func() netip.AddrPort {
		ip := netip.AddrFrom4([4]byte{198, 18, byte(dice.Uint32()), byte(dice.Uint32())})
		if dice.IntN(2) == 0 {
			ip = addr(bad[dice.IntN(len(bad))])
		}
		return netip.AddrPortFrom(ip, uint16(dice.Uint32()))
	}
	teredo := func(mapped netip.AddrPort) netip.Addr { return wire.AddressFrom(draw().Addr(), 0, mapped).Addr() }
	r, s := qualifiedRig(t), newServer(t, nil)
	sent := 0
	for range 50_000 {
		r.now = r.now.Add(50 * time.Millisecond)
		ap := draw()
		r.out.Reset()
		switch dice.IntN(5) {
		case 0:
			r.c.Receive(r.now, serverPort, indirect(teredo(ap), r.own, ap), &r.out)
		case 1:
			r.c.Receive(r.now, serverPort, indirect(addr("fe80::1"), r.own, ap), &r.out)
		case 2:
			r.c.Receive(r.now, ap, wire.AppendBubble(nil, teredo(ap), r.own, 0), &r.out)
		case 3:
			r.c.Receive(r.now, ap, udp(native, r.own, 60), &r.out)
		case 4:
			r.c.Send(r.now, udp(r.own, teredo(ap), 60), &r.out)
		}
		r.c.Tick(r.now, &r.out)
		checkSent(t, r.out.Transmit)
		sent += len(r.out.Transmit)
		s.out.Reset()
		to := wire.AddressFrom(primary, 0, draw()).Addr()
		s.s.Receive(r.now, 0, ap, wire.AppendBubble(nil, wire.AddressFrom(primary, 0, ap).Addr(), to, 0), &s.out)
		s.s.Receive(r.now, 0, ap, solicitation(false), &s.out)
		for _, x := range s.out.Transmit {
			if denied(x.To) {
				t.Errorf("server sent to %v", x.To)
			}
		}
		sent += len(s.out.Transmit)
	}
	if sent < 10_000 {
		t.Errorf("only %d datagrams sent: the test is blind", sent)
	}
}

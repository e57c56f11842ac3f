package engine_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
)

// serverRig is a server alone.
type serverRig struct {
	t   testing.TB
	s   *engine.Server
	now time.Time
	out engine.ServerOutput
}

func newServer(t testing.TB, change func(*engine.ServerConfig)) *serverRig {
	t.Helper()
	cfg := engine.ServerConfig{Primary: primary, Secondary: secondary}
	if change != nil {
		change(&cfg)
	}
	s, err := engine.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &serverRig{t: t, s: s, now: start}
}

// receive lets a second pass, so that no rate limit matters, and hands in a
// datagram.
func (r *serverRig) receive(local int, from netip.AddrPort, b []byte) ([]engine.ServerTransmit, [][]byte) {
	r.now = r.now.Add(time.Second)
	r.out = engine.ServerOutput{}
	r.s.Receive(r.now, local, from, b, &r.out)
	return r.out.Transmit, r.out.Native
}

// expectDrop expects nothing but one drop.
func (r *serverRig) expectDrop(t *testing.T, d engine.Drop, local int, from netip.AddrPort, b []byte) {
	t.Helper()
	want := r.s.Snapshot().Drops
	want[d]++
	sent, native := r.receive(local, from, b)
	if len(sent)+len(native) != 0 {
		t.Errorf("sent %v, native %x", sent, native)
	}
	if got := r.s.Snapshot().Drops; got != want {
		t.Errorf("drops %v, want one more for %v", got, d)
	}
}

var (
	clientPort = addrPort("198.51.100.7:40001")
	client     = wire.AddressFrom(primary, 0x1042, clientPort).Addr()
	otherPort  = addrPort("198.51.100.9:40009")
	other      = wire.AddressFrom(primary, 0x2042, otherPort).Addr()
	stranger   = peerAt(peerPort) // a client of another server
)

func solicitation(cone bool) []byte {
	return wire.AppendSolicitation(wire.AppendNonce(nil, [8]byte{1, 2, 3, 4, 5, 6, 7, 8}), wire.ClientLinkLocal(cone))
}

func echo(src, dst netip.Addr, size int) []byte {
	b, _ := wire.AppendEcho(nil, &wire.Echo{Src: src, Dst: dst, HopLimit: 64, Data: make([]byte, size-8)})
	return b
}

// RFC 4380, 5.3.2: the answer leaves from the address asked, or with the cone
// bit from the other one; with one address only it does not leave at all.
func TestServerAdvertises(t *testing.T) {
	for _, test := range []struct {
		cone        bool
		local, from int
	}{{false, 0, 0}, {false, 1, 1}, {true, 0, 1}, {true, 1, 0}} {
		r := newServer(t, nil)
		sent, _ := r.receive(test.local, clientPort, solicitation(test.cone))
		if len(sent) != 1 || sent[0].From != test.from || sent[0].To != clientPort {
			t.Fatalf("cone %v at %d: %v", test.cone, test.local, sent)
		}
		var d wire.Datagram
		if err := wire.Parse(sent[0].Payload, &d); err != nil || d.Origin != clientPort || d.Auth.Nonce != [8]byte{1, 2, 3, 4, 5, 6, 7, 8} {
			t.Errorf("%+v, %v", d, err)
		}
		ra, err := wire.ParseAdvertisement(d.IPv6)
		if err != nil || ra.Server != primary || ra.MTU != 1280 || ra.Dst != wire.ClientLinkLocal(test.cone) || ra.Src != wire.ServerLinkLocal(primary) {
			t.Errorf("%+v, %v", ra, err)
		}
	}
	one := newServer(t, func(c *engine.ServerConfig) { c.Secondary = netip.Addr{} })
	one.expectDrop(t, engine.DropServerSecondary, 0, clientPort, solicitation(true))
	if sent, _ := one.receive(0, clientPort, solicitation(false)); len(sent) != 1 {
		t.Error("one address: no answer")
	}
}

// The answer to the vector's solicitation is what miredo-server 1.2.6 sent.
func TestServerAnswersLikeMiredo(t *testing.T) {
	r := newServer(t, func(c *engine.ServerConfig) { c.Primary, c.Secondary = addr("203.0.113.120"), addr("203.0.113.121") })
	sent, _ := r.receive(0, addrPort("198.51.100.7:40001"), unhex(t,
		"000100000102030405060708006000000000083afffe800000000000000000fffffffffffeff02000000000000000000000000000285007d3800000000"))
	want := unhex(t, "00010000010203040506070800000063be39cc9bf86000000000383afffe800000000000008000f22734ff8e87fe800000000000000000fffffffffffe8600954d0000000000000000000007d003044040ffffffffffffffff0000000020010000cb00717800000000000000000501000000000500")
	if len(sent) != 1 || !bytes.Equal(sent[0].Payload, want) {
		t.Errorf("got %v\nwant %x", sent, want)
	}
}

// T-06, T-03, T-07: RFC 4380, 5.3.1, rule by rule: what passes, and what does
// not.
func TestServerRules(t *testing.T) {
	bubble := func(src, dst netip.Addr) []byte { return wire.AppendBubble(nil, src, dst, 64) }
	pass := engine.Drop(255)
	for _, test := range []struct {
		name string
		from netip.AddrPort
		b    []byte
		drop engine.Drop
	}{
		{"1: cut", clientPort, bubble(client, other)[:39], engine.DropMalformed},
		{"1: IPv4", clientPort, append([]byte{0x45}, bubble(client, other)[1:]...), engine.DropHeader},
		{"1: routing header", clientPort, packet(client, other, wire.ProtoRouting, make([]byte, 24)), engine.DropRouting},
		{"2: bubble", clientPort, bubble(client, other), pass},
		{"2: echo", clientPort, echo(client, other, 16), pass},
		{"2: UDP", clientPort, udp(client, other, 100), engine.DropServerProtocol},
		{"2: TCP", clientPort, packet(client, other, wire.ProtoTCP, make([]byte, 20)), engine.DropServerProtocol},
		{"2: bubble with payload", clientPort, packet(client, other, wire.ProtoNone, make([]byte, 8)), engine.DropServerProtocol},
		{"2: echo behind options", clientPort, packet(client, other, 60, append([]byte{58, 0, 1, 4, 0, 0, 0, 0}, echo(client, other, 16)[40:]...)), engine.DropServerProtocol},
		{"3: private source", addrPort("10.0.0.1:40001"), solicitation(false), engine.DropServerSource},
		{"3: multicast source", addrPort("224.0.0.1:40001"), solicitation(false), engine.DropServerSource},
		{"3: source port 0", addrPort("198.51.100.7:0"), solicitation(false), engine.DropServerSource},
		{"4: solicitation", clientPort, solicitation(false), pass},
		{"4: to the server's link-local address", clientPort, redirect(solicitation(false), wire.ServerLinkLocal(primary)), pass},
		{"4: to another address", clientPort, redirect(solicitation(false), addr("fe80::1")), engine.DropServerRule7},
		{"4: checksum", clientPort, append(solicitation(false)[:60], 1), engine.DropServerSolicit},
		{"4: trailing bytes", clientPort, append(solicitation(false), 0), engine.DropServerSolicit},
		{"4: link-local echo", clientPort, echo(addr("fe80::1"), wire.ServerLinkLocal(primary), 16), engine.DropServerSolicit},
		{"4: solicitation from a global source", clientPort, redirectSource(solicitation(false), native), engine.DropServerRule7},
		{"5: to a client of another server", clientPort, bubble(client, stranger), pass},
		{"5: wrong port", addrPort("198.51.100.7:40002"), bubble(client, other), engine.DropMismatch},
		{"5: wrong address", addrPort("198.51.100.8:40001"), bubble(client, other), engine.DropMismatch},
		{"6: relay", relay, bubble(native, client), pass},
		{"6: Miredo", otherPort, bubble(addr("fe80::203f:197c:743e:458a"), client), pass},
		{"6: to a client of another server", relay, bubble(native, stranger), engine.DropServerForeign},
		{"6: to a client of the secondary address", relay, bubble(native, wire.AddressFrom(secondary, 0, clientPort).Addr()), engine.DropServerForeign},
		{"6: multicast source", relay, bubble(addr("ff02::1"), client), engine.DropInnerSource},
		{"7: native to native", relay, bubble(native, addr("2001:db8::2")), engine.DropServerRule7},
		{"7: Teredo bubble to native", clientPort, bubble(client, native), engine.DropServerRule7},
		{"scope: link-local", clientPort, echo(client, addr("fe80::1"), 16), engine.DropServerScope},
		{"scope: multicast", clientPort, echo(client, addr("ff02::1"), 16), engine.DropServerScope},
		{"scope: unique local", clientPort, echo(client, addr("fd00::1"), 16), engine.DropServerScope},
		{"target private", clientPort, bubble(client, peerAt(addrPort("192.168.1.1:5000"))), engine.DropDenied},
		{"target port 0", clientPort, bubble(client, peerAt(addrPort("192.0.2.10:0"))), engine.DropDeniedPort},
		{"target port 53", clientPort, bubble(client, peerAt(addrPort("192.0.2.10:53"))), engine.DropDeniedPort},
		{"hop limit used up", clientPort, hops(echo(client, other, 16), 1), engine.DropServerHopLimit},
		{"bubble with hop limit 0", clientPort, hops(bubble(client, other), 0), pass},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newServer(t, nil)
			if test.drop != pass {
				r.expectDrop(t, test.drop, 0, test.from, test.b)
				return
			}
			if sent, _ := r.receive(0, test.from, test.b); len(sent) != 1 || sent[0].From != 0 {
				t.Errorf("sent %v, %v", sent, r.s.Snapshot().Drops)
			}
		})
	}
}

// redirect changes the destination of a solicitation behind a nonce.
func redirect(b []byte, dst netip.Addr) []byte { return patch(b, 24, dst) }

func redirectSource(b []byte, src netip.Addr) []byte { return patch(b, 8, src) }

func patch(b []byte, at int, ip netip.Addr) []byte {
	p := wire.Packet(b[wire.NonceSize:])
	x := ip.As16()
	copy(p[at:], x[:])
	p[42], p[43] = 0, 0
	binary.BigEndian.PutUint16(p[42:], wire.ChecksumICMPv6(p.Source(), p.Destination(), p.Payload()))
	return b
}

func hops(b []byte, n byte) []byte { b[7] = n; return b }

// T-03: nothing from or to one of the server's own addresses moves on, so that
// no single packet circles between servers.
func TestServerLoop(t *testing.T) {
	for _, own := range []netip.Addr{primary, secondary} {
		ap := netip.AddrPortFrom(own, wire.Port)
		self := wire.AddressFrom(primary, 0, ap).Addr()
		for local := range 2 {
			r := newServer(t, nil)
			r.expectDrop(t, engine.DropServerLoop, local, ap, wire.AppendBubble(nil, self, self, 255))
			r.expectDrop(t, engine.DropServerLoop, local, clientPort, wire.AppendBubble(nil, client, self, 255))
			r.expectDrop(t, engine.DropServerLoop, local, ap, solicitation(false))
			r.expectDrop(t, engine.DropDenied, local, netip.AddrPortFrom(own, 40001), solicitation(false))
		}
	}
	// Two servers cannot be played against each other either: port 3544 of
	// the one is no client's, or its bubble's source does not match.
	foreign := addrPort("192.0.2.77:3544")
	r := newServer(t, nil)
	sent, _ := r.receive(0, foreign, wire.AppendBubble(nil, wire.AddressFrom(foreign.Addr(), 0, foreign).Addr(), wire.AddressFrom(primary, 0, foreign).Addr(), 255))
	for _, s := range sent {
		if s.To == foreign {
			other, err := engine.NewServer(engine.ServerConfig{Primary: foreign.Addr()})
			if err != nil {
				t.Fatal(err)
			}
			var out engine.ServerOutput
			other.Receive(r.now, 0, serverPort, s.Payload, &out)
			if len(out.Transmit) != 0 {
				t.Errorf("the other server went on with %v", out.Transmit)
			}
		}
	}
}

// T-05: of all next headers and sizes only bubbles and small echoes pass.
func TestServerForwardsOnly(t *testing.T) {
	r := newServer(t, func(c *engine.ServerConfig) {
		c.Limits = engine.Limits{Client: 1e6, ClientBurst: 1e6, Source: 1e6, Target: 1e6}
	})
	for next := range 256 {
		for _, size := range []int{0, 8, 16, 88, 89, 96, 500, 1240} {
			b := packet(client, other, byte(next), make([]byte, size))
			if next == wire.ProtoICMPv6 && size >= 8 {
				b = echo(client, other, size)
			}
			sent, _ := r.receive(0, clientPort, b)
			want := (next == wire.ProtoNone && size == 0) || (next == wire.ProtoICMPv6 && size >= 8 && size <= 88)
			if (len(sent) == 1) != want {
				t.Errorf("next header %d, %d bytes: sent %v", next, size, sent)
			}
		}
	}
	for kind := range 256 {
		b := echo(client, other, 16)
		b[40] = byte(kind)
		b[42], b[43] = 0, 0
		p := wire.Packet(b)
		binary.BigEndian.PutUint16(b[42:], wire.ChecksumICMPv6(p.Source(), p.Destination(), p.Payload()))
		sent, _ := r.receive(0, clientPort, b)
		if want := kind == 128 || kind == 129; (len(sent) == 1) != want {
			t.Errorf("ICMPv6 type %d: sent %v", kind, sent)
		}
	}
	nonce := []byte{1, 4, 0xde, 0xad, 0xbe, 0xef}
	for name, test := range map[string]struct {
		trailers []byte
		want     bool
	}{
		"nonce":                 {nonce, true},
		"40 bytes":              {slices.Concat(nonce, nonce, nonce, nonce, nonce, nonce, []byte{5, 2, 1, 2}), true},
		"42 bytes":              {slices.Concat(nonce, nonce, nonce, nonce, nonce, nonce, nonce), false},
		"malformed":             {[]byte{1, 4, 0}, false},
		"asks to be discarded":  {[]byte{0x40, 0}, false},
		"1,400 arbitrary bytes": {make([]byte, 1400), false},
	} {
		sent, _ := r.receive(0, clientPort, append(wire.AppendBubble(nil, client, other, 64), test.trailers...))
		if (len(sent) == 1) != test.want {
			t.Errorf("trailers %s: sent %v", name, sent)
		}
		if test.want && !bytes.HasSuffix(sent[0].Payload, test.trailers) {
			t.Errorf("trailers %s not kept: %x", name, sent[0].Payload)
		}
	}
	if sent, _ := r.receive(0, clientPort, append(echo(client, other, 16), nonce...)); len(sent) != 0 {
		t.Error("trailers behind an echo passed")
	}
}

// RFC 4380, 5.3.1: an origin indication goes only to this server's clients, a
// forged one is replaced, and all leaves from the primary address.
func TestServerOrigin(t *testing.T) {
	r := newServer(t, nil)
	b := wire.AppendBubble(nil, client, other, 64)
	forged := slices.Concat(wire.AppendNonce(nil, [8]byte{9}), wire.AppendOrigin(nil, addrPort("192.0.2.1:1")), b)
	for local := range 2 {
		sent, _ := r.receive(local, clientPort, forged)
		var d wire.Datagram
		if len(sent) != 1 || sent[0].From != 0 || sent[0].To != otherPort || wire.Parse(sent[0].Payload, &d) != nil {
			t.Fatalf("sent %v", sent)
		}
		if d.HasAuth || d.Origin != clientPort || d.IPv6.HopLimit() != 63 {
			t.Errorf("%+v", d)
		}
		sent, _ = r.receive(local, clientPort, wire.AppendBubble(nil, client, stranger, 0))
		if len(sent) != 1 || sent[0].From != 0 || !bytes.Equal(sent[0].Payload, wire.AppendBubble(nil, client, stranger, 0)) {
			t.Errorf("to another server's client: %v", sent)
		}
	}
}

// A client's connectivity test is for the native Internet.
func TestServerNative(t *testing.T) {
	r := newServer(t, nil)
	ping := echo(client, native, 28)
	sent, out := r.receive(0, clientPort, ping)
	if len(sent) != 0 || len(out) != 1 || !bytes.Equal(out[0], hops(ping, 63)) {
		t.Errorf("sent %v, native %x", sent, out)
	}
}

// T-08: one reply per request, at most 2.2 times as large.
func TestServerAmplification(t *testing.T) {
	r := newServer(t, nil)
	dice := rand.New(rand.NewPCG(1, 1))
	for i := range 100_000 {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), uint16(2000+i>>8))
		b := solicitation(dice.IntN(2) == 0)
		switch dice.IntN(4) {
		case 0:
			b = b[wire.NonceSize:]
		case 1:
			b = wire.AppendBubble(nil, wire.AddressFrom(primary, 0, from).Addr(), other, 64)
		case 2:
			b[dice.IntN(len(b))] ^= byte(1 << dice.IntN(8))
		}
		r.out.Reset()
		r.now = r.now.Add(10 * time.Millisecond)
		r.s.Receive(r.now, dice.IntN(2), from, b, &r.out)
		if n := len(r.out.Transmit) + len(r.out.Native); n > 1 {
			t.Fatalf("%d replies", n)
		}
		for _, s := range r.out.Transmit {
			if float64(len(s.Payload)) > 2.2*float64(len(b)) {
				t.Fatalf("%d bytes for %d", len(s.Payload), len(b))
			}
		}
	}
	if s := r.s.Snapshot(); s.Advertised < 40_000 || s.Forwarded < 20_000 {
		t.Errorf("only %d and %d replies", s.Advertised, s.Forwarded)
	}
}

// The configuration's problems are all reported.
func TestServerConfig(t *testing.T) {
	_, err := engine.NewServer(engine.ServerConfig{Primary: addr("10.0.0.1"), Secondary: addr("10.0.0.1"), MTU: 1000, Limits: engine.Limits{Entries: 1 << 20}})
	if err == nil || bytes.Count([]byte(err.Error()), []byte("\n")) != 3 {
		t.Errorf("got %v", err)
	}
}

// Answers allocate nothing.
func TestServerAllocates(t *testing.T) {
	r := newServer(t, nil)
	rs, bubble := solicitation(false), wire.AppendBubble(nil, client, other, 64)
	n := testing.AllocsPerRun(1000, func() {
		r.now = r.now.Add(time.Second)
		r.out.Reset()
		r.s.Receive(r.now, 0, clientPort, rs, &r.out)
		r.s.Receive(r.now, 0, clientPort, bubble, &r.out)
		if len(r.out.Transmit) != 2 {
			t.Fatal("no answer")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkServer(b *testing.B) {
	r := newServer(b, func(c *engine.ServerConfig) {
		c.Limits = engine.Limits{Client: 1e9, ClientBurst: 1e9, Source: 1e9, Target: 1e9}
	})
	for name, data := range map[string][]byte{"solicitation": solicitation(false), "bubble": wire.AppendBubble(nil, client, other, 64)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.out.Reset()
				r.s.Receive(r.now, 0, clientPort, data, &r.out)
			}
		})
	}
}

// TestTwin: twins on different processors share the limits, so that a client
// gets no more from two of them than from one, and count for themselves. T-09
func TestTwin(t *testing.T) {
	const limit = 10
	a, err := engine.NewServer(engine.ServerConfig{Primary: primary, Limits: engine.Limits{Client: 1, ClientBurst: limit}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := a.Twin()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1000, 0)
	from := netip.MustParseAddrPort("198.51.100.7:40001")
	var workers sync.WaitGroup
	for _, s := range []*engine.Server{a, b} {
		workers.Go(func() {
			var out engine.ServerOutput
			for range 1000 {
				s.Expect(from, nil)
				s.Receive(now, 0, from, wire.AppendSolicitation(wire.AppendNonce(nil, [8]byte{1}), wire.ClientLinkLocal(false)), &out)
				out.Reset()
			}
		})
	}
	workers.Wait()
	state := a.Snapshot()
	other := b.Snapshot()
	if other.Received != 1000 {
		t.Errorf("the twin received %d", other.Received)
	}
	state.Add(&other)
	if state.Received != 2000 || state.Advertised != limit || state.Drops[engine.DropServerEndpoint] != 2000-limit || state.LimitEntries != 3 {
		t.Errorf("together: %+v", state)
	}
}

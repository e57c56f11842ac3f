package engine_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
)

var (
	peerServer = netip.AddrPortFrom(addr("192.0.2.77"), wire.Port)
	clientAt   = addrPort("198.51.100.7:40001")
)

// RFC 4380, 5.4.1: packets for a client wait, in order, while a bubble asks it
// through its server to open its NAT; after its answer they and all others go
// straight there. What it sends goes to native nodes.
func TestRelay(t *testing.T) {
	r := newRelay(t, nil)
	client := peerAt(clientAt)
	bubbles := r.send(udp(native, client, 100))
	if len(bubbles) != 1 || bubbles[0].To != peerServer || len(bubbles[0].Payload) != wire.HeaderSize {
		t.Fatalf("sent %v", bubbles)
	}
	for size := 101; size <= 103; size++ {
		if sent := r.send(udp(native, client, size)); len(sent) != 0 {
			t.Fatalf("sent %v", sent)
		}
	}
	sent := r.receive(clientAt, r.answer(bubbles[0].Payload))
	if len(sent) != 4 || r.delivered() != 0 {
		t.Fatalf("sent %v", sent)
	}
	for i, s := range sent {
		if s.To != clientAt || len(s.Payload) != 100+i || s.Payload[7] != 63 {
			t.Errorf("packet %d: %d bytes, hop limit %d, to %v", i, len(s.Payload), s.Payload[7], s.To)
		}
	}
	if sent := r.send(udp(native, client, 104)); len(sent) != 1 || sent[0].To != clientAt {
		t.Errorf("sent %v", sent)
	}
	r.receive(clientAt, udp(client, native, 200))
	if len(r.out.Deliver) != 1 || len(r.out.Deliver[0]) != 200 || r.out.Deliver[0][7] != 63 {
		t.Errorf("delivered %v: %v", r.out.Deliver, r.r.Snapshot().Drops)
	}
	if s := r.r.Snapshot(); s.Sent != 5 || s.Received != 1 || s.PeersTrusted != 1 || s.PeersOther != 0 || s.Queued != 0 || s.Bubbles != 1 {
		t.Errorf("%+v", s)
	}
}

// RFC 4380, 5.4.1: four bubbles at 2 s, then the client is forgotten, but not
// that it got them.
func TestRelayRetries(t *testing.T) {
	r := newRelay(t, nil)
	client := peerAt(clientAt)
	n := len(r.send(udp(native, client, 100)))
	n += len(r.pass(6 * time.Second))
	if s := r.r.Snapshot(); n != 4 || s.PeersOther != 1 {
		t.Errorf("%d bubbles, %+v", n, s)
	}
	r.pass(2 * time.Second)
	if s := r.r.Snapshot(); s.PeersOther != 0 || s.Queued != 0 || s.Drops[engine.DropPeerFailed] != 1 {
		t.Errorf("%+v", s)
	}
	r.expectDrop(t, engine.DropBubbleLimit, func() []engine.Transmit { return r.send(udp(native, client, 100)) })
	r.pass(293 * time.Second)
	if sent := r.send(udp(native, client, 100)); len(sent) != 1 {
		t.Errorf("after the window: %v, %v", sent, r.r.Snapshot().Drops)
	}
}

// A client that was away for 15 s while somebody sent to it every second is
// reached again within 8 s of its return: it proved before that it is no victim.
func TestRelayReturn(t *testing.T) {
	r := newRelay(t, nil)
	client := peerAt(clientAt)
	r.connect(client, clientAt)
	r.pass(40 * time.Second)
	var last []byte
	for range 15 {
		for _, s := range append(r.send(udp(native, client, 100)), r.pass(time.Second)...) {
			last = s.Payload
		}
	}
	if len(last) == 0 {
		t.Fatal("no bubble while it was away")
	}
	for i := range 8 {
		for _, s := range append(r.send(udp(native, client, 101)), r.pass(time.Second)...) {
			if sent := r.receive(clientAt, r.answer(s.Payload)); len(sent) > 0 {
				t.Logf("reached after %d s", i+1)
				return
			}
		}
	}
	t.Errorf("not reached: %v", r.r.Snapshot().Drops)
}

// A client behind a symmetric NAT answers from another port than its address
// names, and is served there. RFC 6081, 3.1 without its nonce.
func TestRelaySymmetric(t *testing.T) {
	r := newRelay(t, nil)
	client, seen := peerAt(clientAt), addrPort("198.51.100.7:51234")
	r.connect(client, seen)
	r.receive(seen, udp(client, native, 60))
	if r.delivered() != 1 {
		t.Errorf("%v", r.r.Snapshot().Drops)
	}
	r.expectDrop(t, engine.DropMismatch, func() []engine.Transmit {
		return r.receive(addrPort("198.51.100.7:51235"), udp(client, native, 60))
	})
	other := peerAt(addrPort("198.51.100.8:40001"))
	bubbles := r.send(udp(native, other, 100))
	// From another host's address: it could be a victim's.
	r.expectDrop(t, engine.DropMismatch, func() []engine.Transmit { return r.receive(seen, r.answer(bubbles[0].Payload)) })
}

// T-14, T-19: the source of a bubble serves only the client that it went to, and
// for at most 30 s; nor does it survive a restart.
func TestRelayToken(t *testing.T) {
	elsewhere := addrPort("198.51.100.7:51234")
	for _, test := range []struct {
		name string
		wait time.Duration
		ok   bool
	}{{"at once", 0, true}, {"after 7 s", 7 * time.Second, true}, {"after 31 s", 31 * time.Second, false}} {
		t.Run(test.name, func(t *testing.T) {
			r := newRelay(t, nil)
			r.connect(peerAt(addrPort("198.51.100.9:40009")), addrPort("198.51.100.9:40009"))
			client := peerAt(clientAt)
			answer := r.answer(r.send(udp(native, client, 100))[0].Payload)
			r.pass(test.wait)
			if r.r.Snapshot().PeersOther == 0 {
				r.pass(bubbleWindow)
				r.send(udp(native, client, 100))
			}
			r.receive(elsewhere, answer)
			if s := r.r.Snapshot(); (s.PeersTrusted == 2) != test.ok {
				t.Errorf("%+v", s)
			}
		})
	}
	t.Run("another client's", func(t *testing.T) {
		r := newRelay(t, nil)
		a, b := peerAt(clientAt), peerAt(addrPort("198.51.100.7:40002"))
		answer := r.answer(r.send(udp(native, a, 100))[0].Payload)
		r.send(udp(native, b, 100))
		forged := b.As16()
		copy(answer[8:24], forged[:])
		r.expectDrop(t, engine.DropMismatch, func() []engine.Transmit { return r.receive(elsewhere, answer) })
	})
	t.Run("after a restart", func(t *testing.T) {
		client := peerAt(clientAt)
		old := newRelay(t, nil)
		answer := old.answer(old.send(udp(native, client, 100))[0].Payload)
		r := newRelay(t, func(c *engine.RelayConfig) { c.Rand = seeded(10) })
		r.send(udp(native, client, 100))
		r.expectDrop(t, engine.DropMismatch, func() []engine.Transmit { return r.receive(elsewhere, answer) })
	})
}

const bubbleWindow = 300 * time.Second

// A relay that restarted tries a client that goes on sending through it, at the
// rate that strangers have, and serves it once it answered.
func TestRelayRestart(t *testing.T) {
	r := newRelay(t, nil)
	client := peerAt(clientAt)
	bubbles := r.receive(clientAt, udp(client, native, 100))
	if len(bubbles) != 1 || r.delivered() != 0 || r.drops(engine.DropRelayUnknown) != 1 {
		t.Fatalf("sent %v, %v", bubbles, r.r.Snapshot().Drops)
	}
	r.receive(clientAt, r.answer(bubbles[0].Payload))
	r.receive(clientAt, udp(client, native, 101))
	if r.delivered() != 1 {
		t.Errorf("%v", r.r.Snapshot().Drops)
	}
	n := 0
	for i := range 10_000 {
		ap := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 40000)
		b := udp(peerAt(ap), native, 48)
		n += len(r.receive(ap, b)) + len(r.pass(time.Millisecond))
	}
	if n == 0 || n > 4*70 {
		t.Errorf("%d bubbles because of 10,000 forged packets in 10 s", n)
	}
}

// T-30: a client whose packets match its address, but that never answered a
// bubble, gets at most three times the bytes that it sent.
func TestRelayCredit(t *testing.T) {
	r := newRelay(t, nil)
	client := peerAt(clientAt)
	bubbles := r.send(udp(native, client, 1000))
	in, out := 0, 0
	count := func(sent []engine.Transmit) {
		for _, s := range sent {
			if s.To == clientAt {
				out += len(s.Payload)
			}
		}
	}
	for range 5 {
		b := udp(client, native, 400)
		in += len(b)
		count(r.receive(clientAt, b))
		for range 10 {
			count(r.send(udp(native, client, 1000)))
		}
	}
	if out == 0 || out > 3*in || r.drops(engine.DropRelayCredit) == 0 {
		t.Errorf("%d bytes in, %d out, %v", in, out, r.r.Snapshot().Drops)
	}
	r.receive(clientAt, r.answer(bubbles[0].Payload))
	for range 50 {
		if sent := r.send(udp(native, client, 1000)); len(sent) != 1 {
			t.Fatalf("not served after its answer: %v", r.r.Snapshot().Drops)
		}
	}
}

// An idle client in use is asked for a sign of life before its entry lapses, so
// that no packet of a one-way stream waits.
func TestRelayOneWay(t *testing.T) {
	r := newRelay(t, nil)
	client := peerAt(clientAt)
	r.connect(client, clientAt)
	for i := range 600 {
		sent := append(r.send(udp(native, client, 100)), r.pass(200*time.Millisecond)...)
		if len(sent) == 0 || sent[0].To != clientAt {
			t.Fatalf("packet %d waits: %v", i, r.r.Snapshot().Drops)
		}
		for _, s := range sent[1:] {
			r.receive(clientAt, r.answer(s.Payload))
		}
	}
}

// RFC 6081, 3.6: a bubble that solicits an answer gets one, straight.
func TestRelaySolicited(t *testing.T) {
	r := newRelay(t, nil)
	client := peerAt(clientAt)
	r.connect(client, clientAt)
	ask := wire.AppendTrailers(wire.AppendBubble(nil, client, native, 64), &wire.Trailers{Discovery: wire.DiscoverySolicitation})
	sent := r.receive(clientAt, ask)
	var d wire.Datagram
	var tr wire.Trailers
	if len(sent) != 1 || sent[0].To != clientAt || wire.Parse(sent[0].Payload, &d) != nil || wire.ParseTrailers(d.Trailers, &tr) != nil ||
		tr.Discovery != wire.DiscoveryAdvertisement {
		t.Fatalf("sent %v", sent)
	}
	if sent := r.receive(clientAt, ask); len(sent) != 0 {
		t.Errorf("again at once: %v", sent)
	}
	r.expectDrop(t, engine.DropTrailer, func() []engine.Transmit { return r.receive(clientAt, append(slices.Clone(ask[:40]), 0x7f, 0)) })
}

// A relay behind a NAT opens it with bubbles that go straight to the client.
func TestRelayDirect(t *testing.T) {
	r := newRelay(t, func(c *engine.RelayConfig) { c.Direct = true })
	client := peerAt(clientAt)
	sent := r.send(udp(native, client, 100))
	if len(sent) != 2 || sent[0].To != peerServer || sent[1].To != clientAt || len(sent[1].Payload) != wire.HeaderSize {
		t.Fatalf("sent %v", sent)
	}
	r.receive(clientAt, r.answer(sent[1].Payload))
	if s := r.r.Snapshot(); s.PeersTrusted != 1 {
		t.Errorf("%+v", s)
	}
}

// The configuration is checked as a whole.
func TestRelayConfig(t *testing.T) {
	prefix := netip.MustParsePrefix
	for _, test := range []struct {
		name   string
		change func(*engine.RelayConfig)
		ok     bool
	}{
		{"as is", func(*engine.RelayConfig) {}, true},
		{"one host", func(c *engine.RelayConfig) { c.Served = []netip.Prefix{prefix("2001:db8::1/128")} }, true},
		{"the Internet", func(c *engine.RelayConfig) { c.Served = []netip.Prefix{prefix("2000::/3")} }, true},
		{"nobody", func(c *engine.RelayConfig) { c.Served = nil }, false},
		{"everything", func(c *engine.RelayConfig) { c.Served = []netip.Prefix{prefix("::/0")} }, false},
		{"Teredo", func(c *engine.RelayConfig) { c.Served = []netip.Prefix{prefix("2001::/32")} }, false},
		{"a server's clients", func(c *engine.RelayConfig) { c.Served = []netip.Prefix{prefix("2001:0:cb00:7101::/64")} }, false},
		{"link-local", func(c *engine.RelayConfig) { c.Served = []netip.Prefix{prefix("fe80::/64")} }, false},
		{"multicast", func(c *engine.RelayConfig) { c.Served = []netip.Prefix{prefix("ff00::/8")} }, false},
		{"IPv4", func(c *engine.RelayConfig) { c.Served = []netip.Prefix{prefix("192.0.2.0/24")} }, false},
		{"private server", func(c *engine.RelayConfig) { c.Servers = []netip.Addr{addr("10.0.0.1")} }, false},
		{"small table", func(c *engine.RelayConfig) { c.Peers = 3 }, false},
		{"large table", func(c *engine.RelayConfig) { c.Peers = 1 << 20 }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := engine.RelayConfig{Served: []netip.Prefix{served}}
			test.change(&cfg)
			if _, err := engine.NewRelay(cfg); (err == nil) != test.ok {
				t.Errorf("error %v", err)
			}
		})
	}
}

// Nothing is allocated for a packet of a peer that is up, in either direction.
func TestRelayAllocates(t *testing.T) {
	r := newRelay(t, nil)
	client := peerAt(clientAt)
	r.connect(client, clientAt)
	there, back := udp(native, client, 1280), udp(client, native, 1280)
	if n := testing.AllocsPerRun(1000, func() {
		there[7], back[7] = 64, 64
		r.out.Reset()
		r.r.Send(r.now, there, &r.out)
		r.r.Receive(r.now, clientAt, back, &r.out)
	}); n != 0 || len(r.out.Transmit) != 1 || len(r.out.Deliver) != 1 {
		t.Errorf("%v allocations", n)
	}
}

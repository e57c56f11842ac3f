package engine_test

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
)

// forged returns the i-th of many addresses.
func forged(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{12, byte(i >> 16), byte(i >> 8), byte(i)}), 40000)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// T-09: a flood of a hundred times the honest load, from forged and from real
// sources, neither keeps honest clients from their answers nor lets anybody
// get more than the limits, and memory stays flat.
func TestServerFlood(t *testing.T) {
	r := newServer(t, nil)
	rs := solicitation(false)
	victim := wire.AddressFrom(primary, 0, addrPort("192.0.2.200:5000"))
	honest, answered, toVictim, toBot := 0, 0, 0, 0
	bot := addrPort("192.0.2.201:6000")
	receive := func(from netip.AddrPort, b []byte) {
		r.out.Reset()
		r.s.Receive(r.now, 0, from, b, &r.out)
		for _, s := range r.out.Transmit {
			switch s.To {
			case victim.Mapped():
				toVictim++
			case bot:
				toBot++
			case addrPort("192.0.2.5:5000"):
				answered++
			}
		}
	}
	var before uint64
	const seconds, perMilli = 10, 20
	for ms := range seconds * 1000 {
		if ms == 5000 {
			before = heap() // the table is full by now
		}
		r.now = r.now.Add(time.Millisecond)
		for i := range perMilli {
			n := ms*perMilli + i
			from := forged(n)
			switch i % 3 {
			case 0:
				receive(from, rs)
			case 1:
				receive(from, wire.AppendBubble(nil, wire.AddressFrom(primary, 0, from).Addr(), victim.Addr(), 64))
			case 2:
				receive(bot, rs)
			}
		}
		if ms%1000 == 0 {
			honest++
			receive(addrPort("192.0.2.5:5000"), rs)
		}
	}
	if answered*100 < honest*99 {
		t.Errorf("%d of %d honest solicitations answered", answered, honest)
	}
	if most := 200*seconds + 200; toVictim > most || toVictim < 1000 {
		t.Errorf("%d packets to the victim, want at most %d", toVictim, most)
	}
	if most := 5*seconds + 10; toBot > most {
		t.Errorf("%d answers to one flooding client, want at most %d", toBot, most)
	}
	if after := heap(); after > before+1<<20 {
		t.Errorf("heap grew from %d to %d", before, after)
	}
	s := r.s.Snapshot()
	if s.LimitEntries > 65536 || s.Drops[engine.DropServerEndpoint] == 0 || s.Drops[engine.DropServerTarget] == 0 {
		t.Errorf("%d entries, %v", s.LimitEntries, s.Drops)
	}
}

// T-09: one IPv4 source, a CGN, gets 200 answers a second for all its clients.
func TestServerSourceLimit(t *testing.T) {
	r := newServer(t, nil)
	n := 0
	for i := range 5000 {
		r.now = r.now.Add(time.Millisecond)
		r.out.Reset()
		r.s.Receive(r.now, 0, netip.AddrPortFrom(addr("192.0.2.5"), uint16(2000+i)), solicitation(false), &r.out)
		n += len(r.out.Transmit)
	}
	if n < 1000 || n > 1200 || r.s.Snapshot().Drops[engine.DropServerHost] == 0 {
		t.Errorf("%d answers in 5 s", n)
	}
}

// T-08, T-09: solicitations in the name of one victim from many of its ports, as
// many as each client may send, do not wash out what the address as a whole may
// get. The table has room for eight buckets, so that all of them compete.
func TestServerPortFlood(t *testing.T) {
	for ports := 1; ports <= 16; ports++ {
		r := newServer(t, func(c *engine.ServerConfig) { c.Limits.Entries = 8 })
		rs := solicitation(false)
		n := 0
		send := func(port int) {
			r.out.Reset()
			r.s.Receive(r.now, 0, netip.AddrPortFrom(addr("192.0.2.200"), uint16(2000+port)), rs, &r.out)
			n += len(r.out.Transmit)
		}
		const seconds = 4
		for ms := range seconds * 1000 {
			for port := range ports {
				if ms < 10 || ms%200 == port {
					send(port)
				}
			}
			send(ms % ports)
			r.now = r.now.Add(time.Millisecond)
		}
		if most := 200*seconds + 200; n > most {
			t.Errorf("%d ports: %d answers to one address in %d s, want at most %d", ports, n, seconds, most)
		}
	}
}

// T-10: a million sources leave nothing behind but the limiter's table.
func TestServerStateless(t *testing.T) {
	sources := times(1_000_000)
	r := newServer(t, func(c *engine.ServerConfig) { c.Limits.Entries = 1024 })
	rs := solicitation(false)
	flood := func(from, to int) {
		for i := from; i < to; i++ {
			r.out.Reset()
			r.s.Receive(r.now, 0, forged(i), rs, &r.out)
			if len(r.out.Transmit) != 1 {
				t.Fatal("no answer")
			}
		}
	}
	flood(0, 10_000)
	before := heap()
	flood(10_000, sources)
	if after := heap(); after > before+1<<20 {
		t.Errorf("heap grew from %d to %d", before, after)
	}
}

// T-20: a hundred thousand forged peers a second for ten seconds, direct and
// through the server, cost a trusted flow no packet, do not keep a new peer
// from connecting, in or out, and memory stays bounded.
func TestPeerFlood(t *testing.T) {
	perMilli := times(100)
	r := qualifiedRig(t)
	friend := peerAt(peerPort)
	r.connect(friend, peerPort)
	newPort := addrPort("192.0.2.11:5000")
	newcomer := peerAt(newPort)
	before := heap()
	var packet []byte
	lost, answered := 0, false
	for ms := range 10_000 {
		r.now = r.now.Add(time.Millisecond)
		for i := range perMilli {
			from := forged(ms*perMilli + i)
			src := peerAt(from)
			r.out.Reset()
			switch i % 4 {
			case 0:
				packet = wire.AppendBubble(packet[:0], src, r.own, 64)
			case 1:
				packet = append(packet[:0], udp(native, r.own, 60)...)
				packet[23], packet[22] = byte(i), byte(ms)
			case 2:
				packet = wire.AppendBubble(wire.AppendOrigin(packet[:0], from), src, r.own, 64)
				from = serverPort
			default:
				packet = append(packet[:0], udp(src, r.own, 60)...)
			}
			r.c.Receive(r.now, from, packet, &r.out)
		}
		r.out.Reset()
		r.c.Tick(r.now, &r.out)
		for _, s := range r.take() {
			if len(s.Payload) == 61 { // the server goes on answering
				r.receive(serverPort, r.advertise(s, mapping))
			}
		}
		if ms%20 == 0 {
			r.out.Reset()
			r.c.Receive(r.now, peerPort, udp(friend, r.own, 100), &r.out)
			r.c.Send(r.now, udp(r.own, friend, 100), &r.out)
			if len(r.out.Deliver) != 1 || len(r.out.Transmit) != 1 {
				lost++
			}
		}
		// At 2 s the host calls the newcomer, which answers 100 ms later.
		switch {
		case ms == 2000:
			r.send(udp(r.own, newcomer, 111))
		case ms == 2100:
			for _, s := range r.receive(newPort, wire.AppendBubble(nil, newcomer, r.own, 64)) {
				answered = answered || (s.To == newPort && len(s.Payload) == 111)
			}
		}
	}
	if lost > 0 {
		t.Errorf("%d packets of the trusted flow lost", lost)
	}
	if !answered {
		t.Error("the packet that waited for the newcomer was lost")
	}
	s := r.c.Snapshot()
	if s.PeersTrusted+s.PeersOther > 4096 || s.PeersOther > 1024 {
		t.Errorf("%d trusted and %d other peers", s.PeersTrusted, s.PeersOther)
	}
	if after := heap(); after > before+32<<20 {
		t.Errorf("heap grew from %d to %d", before, after)
	}
	if s.State != engine.Ready {
		t.Errorf("state %v", s.State)
	}
}

// Peers that were silent for ten minutes are forgotten at the next refresh.
func TestPeersForgotten(t *testing.T) {
	r := qualifiedRig(t)
	r.connect(peerAt(peerPort), peerPort)
	r.receive(relay, udp(native, r.own, 60))
	for range 25 {
		for _, s := range r.pass(30 * time.Second) {
			if len(s.Payload) == 61 {
				r.receive(serverPort, r.advertise(s, mapping))
			}
		}
	}
	if s := r.c.Snapshot(); s.PeersTrusted+s.PeersOther != 0 || s.State != engine.Ready || s.Queued != 0 {
		t.Errorf("%d and %d peers left, state %v", s.PeersTrusted, s.PeersOther, s.State)
	}
}

// T-01: a new policy holds for the peers that are known already.
func TestSetPolicy(t *testing.T) {
	r := qualifiedRig(t)
	peer := peerAt(peerPort)
	r.connect(peer, peerPort)
	r.connect(peerAt(otherPort), otherPort)
	r.c.SetPolicy(engine.Policy{Inside: []netip.Prefix{netip.PrefixFrom(peerPort.Addr(), 24)}})
	r.expectDrop(t, engine.DropDenied, func() []engine.Transmit { return r.send(udp(r.own, peer, 100)) })
	r.expectDrop(t, engine.DropDenied, func() []engine.Transmit { return r.receive(peerPort, udp(peer, r.own, 100)) })
	if sent := r.send(udp(r.own, peerAt(otherPort), 100)); len(sent) != 1 || sent[0].To != otherPort {
		t.Errorf("the other peer was lost: %v", sent)
	}
}

// T-20: forged peers that the host answers, as it answers pings, look proven at
// their second packet. Not even they displace a proven peer in use; one whose
// entry has lapsed makes room.
func TestAnsweredFlood(t *testing.T) {
	r := newRig(t, func(c *engine.ClientConfig) { c.Peers = 16 })
	r.receive(serverPort, r.advertise(r.begin()[0], mapping))
	r.own = r.c.Snapshot().Address.Addr()
	friend := peerAt(peerPort)
	r.connect(friend, peerPort)
	flood := func(first int) {
		for i := range 100 {
			from := forged(first + i)
			src := peerAt(from)
			r.receive(from, udp(src, r.own, 60))
			r.send(udp(r.own, src, 60))
			r.receive(from, udp(src, r.own, 60))
		}
	}
	flood(0)
	if sent := r.send(udp(r.own, friend, 100)); len(sent) != 1 || sent[0].To != peerPort {
		t.Errorf("the peer in use was displaced: sent %v", sent)
	}
	if s := r.c.Snapshot(); s.PeersTrusted != 12 || s.PeersOther > 4 {
		t.Errorf("%d trusted and %d other peers", s.PeersTrusted, s.PeersOther)
	}
	r.now = r.now.Add(31 * time.Second)
	flood(1000)
	if p, _ := r.c.Peer(r.now, friend); p.Endpoint.IsValid() {
		t.Error("the lapsed peer still takes a place")
	}
}

// T-20: at most 64 strangers with one IPv4 address are kept.
func TestPeersPerHost(t *testing.T) {
	r := qualifiedRig(t)
	for i := range 500 {
		from := netip.AddrPortFrom(addr("192.0.2.66"), uint16(2000+i))
		r.receive(from, udp(peerAt(from), r.own, 60))
	}
	if s := r.c.Snapshot(); s.PeersOther != 64 || s.Received != 500 {
		t.Errorf("%d strangers kept of one address, %d packets delivered", s.PeersOther, s.Received)
	}
}

// Expect is a hint: after it, or with anything in it, Receive does the same. T-09
func TestServerExpects(t *testing.T) {
	hinted, plain := newServer(t, nil), newServer(t, nil)
	bubble := wire.AppendBubble(nil, wire.AddressFrom(primary, 0, forged(1)).Addr(), wire.AddressFrom(primary, 0, forged(2)).Addr(), 64)
	for i := range 3000 {
		from, b := forged(1+i%7), [][]byte{solicitation(false), bubble, nil, bubble[:39], {0, 1}}[i%5]
		for _, r := range []*serverRig{hinted, plain} {
			r.now = r.now.Add(time.Millisecond)
		}
		hinted.s.Expect(from, b)
		hinted.s.Expect(netip.AddrPort{}, b)
		hinted.s.Receive(hinted.now, 0, from, b, &hinted.out)
		plain.s.Receive(plain.now, 0, from, b, &plain.out)
	}
	if got, want := hinted.s.Snapshot(), plain.s.Snapshot(); got != want || got.Advertised == 0 || got.Forwarded == 0 || got.Drops[engine.DropServerEndpoint] == 0 {
		t.Errorf("with hints %+v, without %+v", got, want)
	}
}

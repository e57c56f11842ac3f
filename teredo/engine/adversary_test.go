package engine_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
	"shipworm/testnet/adversary"
	"shipworm/testnet/link"
	"shipworm/testnet/sim"
)

// These tests put the adversaries of package adversary (L-03) on a simulated
// Internet with our client and server, where the machines' own tests hand them
// the packets directly.

var anywhere = netip.MustParsePrefix("198.18.0.0/15")

// eve is a host that may forge.
func (l *lab) eve() *sim.Host {
	return l.must(l.w.Host("eve", link.Config{Delay: 10 * time.Millisecond}, addr("198.51.100.250")))
}

// victim is a host that counts what it gets.
func (l *lab) victim(a netip.Addr) *adversary.Victim {
	v := &adversary.Victim{}
	v.Attach(l.must(l.w.Host("victim "+a.String(), link.Config{}, a)))
	return v
}

// open is the configuration-free client that anybody can send to.
func (l *lab) open() *node {
	n := l.public(l.nodes)
	l.qualify(n)
	return n
}

// A spoofer with ten thousand native sources behind ten thousand relays draws
// at most 60 tests, fewer bytes than it spends, and nothing towards those it
// names. L-03, T-15
func TestSpooferDrawsFewTests(t *testing.T) {
	l := newLab(t, 1, plain)
	n := l.open()
	relay := addrPort("198.51.100.200:3545")
	v := l.victim(relay.Addr())
	tests, in, out := 0, 0, 0
	n.sent = func(t engine.Transmit) { // at the client: the server has limits too
		out += len(t.Payload)
		if t.To == serverPort && len(t.Payload) == 68 {
			tests++
		}
	}
	f := adversary.Flooder{
		Rate: 1000, Time: 10 * time.Second, To: n.state().Mapped,
		From: func(i int) netip.AddrPort {
			if i%2 == 0 {
				return relay
			}
			return adversary.Sources(1, anywhere)(i)
		},
		Payload: func(i int, _ netip.AddrPort) []byte {
			src := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 14: byte(i >> 8), 15: byte(i)})
			b := udp(src, n.addr(), 48)
			in += len(b)
			return b
		},
	}
	f.Attach(l.w, l.eve())
	l.run(30 * time.Second)
	if f.Stats().Sent != 10_000 || tests == 0 || tests > 60 || out > in {
		t.Errorf("%d forged, %d tests, %d bytes in, %d out", f.Stats().Sent, tests, in, out)
	}
	if v.Packets != 0 || len(n.got) != 0 {
		t.Errorf("%d packets to the relay named, %d delivered", v.Packets, len(n.got))
	}
}

// A spoofer with a hundred thousand made-up peers takes nothing from a flow
// that is up, nor keeps a new peer from connecting within 3 s. L-03, T-20
func TestSpooferKeepsFlow(t *testing.T) {
	l := newLab(t, 1, plain)
	n := l.open()
	friend, newcomer := l.node("port-restricted", nil), l.node("port-restricted", nil)
	l.qualify(friend, newcomer)
	friend.send(n.addr(), 100)
	l.run(time.Second)
	f := adversary.Flooder{
		Rate: 10_000, Time: 10 * time.Second, To: n.state().Mapped, From: adversary.Sources(1, anywhere),
		Payload: func(i int, from netip.AddrPort) []byte {
			if i%2 == 0 {
				return wire.AppendBubble(nil, peerAt(from), n.addr(), 64)
			}
			return udp(peerAt(from), n.addr(), 60)
		},
	}
	f.Attach(l.w, l.eve())
	n.got, friend.got = nil, nil
	for i := range 100 {
		friend.send(n.addr(), 200)
		n.send(friend.addr(), 201)
		if i == 20 {
			newcomer.send(n.addr(), 300)
		}
		l.run(100 * time.Millisecond)
	}
	l.run(time.Second)
	sizes := map[int]int{}
	for _, g := range n.got {
		sizes[len(g.packet)]++
		if late := g.at.Sub(start); len(g.packet) == 300 && late > 7*time.Second {
			t.Errorf("the newcomer came through only after %v", late)
		}
	}
	if sizes[200] != 100 || len(friend.got) != 100 || sizes[300] != 1 {
		t.Errorf("of 100 packets each way %d and %d; of the newcomer's %d", sizes[200], len(friend.got), sizes[300])
	}
	if s := n.state(); s.PeersOther > 1024 {
		t.Errorf("%d strangers kept", s.PeersOther)
	}
}

// A slow loris with three thousand made-up peers, each of which says something
// just before it would be forgotten, has no more of the table than a flood.
// L-03, T-20
func TestLorisLeavesRoom(t *testing.T) {
	l := newLab(t, 1, plain)
	n := l.open()
	friend := l.node("port-restricted", nil)
	l.qualify(friend)
	d := adversary.Dripper{
		Conversations: 3000, Every: 29 * time.Second, To: n.state().Mapped, From: adversary.Sources(1, anywhere),
		Payload: func(_, _ int, from netip.AddrPort) []byte { return udp(peerAt(from), n.addr(), 60) },
	}
	if err := d.Attach(l.w, l.eve()); err != nil {
		t.Fatal(err)
	}
	l.run(2 * time.Minute)
	if s := n.state(); s.PeersOther > 1024 || s.PeersOther < 100 {
		t.Errorf("%d strangers kept", s.PeersOther)
	}
	friend.send(n.addr(), 300)
	if !l.until(3*time.Second, func() bool {
		return slices.ContainsFunc(n.got, func(g got) bool { return len(g.packet) == 300 })
	}) {
		t.Error("a new peer found no room")
	}
}

// Answers of the server that are played again, on the line or from elsewhere,
// at once or late, change nothing: a nonce serves once. L-03, T-12
func TestReplayedAdvertisement(t *testing.T) {
	l := newLab(t, 1, plain)
	n := l.node("cone", nil)
	r := adversary.Replayer{Match: func(p *sim.Passage) bool { return !p.Up }}
	r.Attach(l.w, n.router)
	l.qualify(n)
	old := n.addr()
	first := r.Captured()[0]
	r.Replay(first)
	l.run(time.Second)
	if n.state().Drops[engine.DropRANonce] != 1 {
		t.Errorf("at once: %v", n.state().Drops)
	}
	// The client now has another mapping; the old answer still arrives.
	n.renumber()
	if !l.until(time.Minute, func() bool { return n.addr() != old }) {
		t.Fatal("the new mapping was not found")
	}
	now := n.state().Address
	_, _, payload, _ := first.Datagram()
	eve := l.eve()
	for range 3 {
		s := adversary.Spoofer{}
		s.Attach(eve)
		s.Send(serverPort, now.Mapped(), payload)
		r.Replay(first) // to the old address: it ends at the NAT
		l.run(13 * time.Second)
	}
	if s := n.state(); s.Address != now || s.Drops[engine.DropRANonce] != 4 || n.count(engine.Qualified) != 2 {
		t.Errorf("%v, want %v; %v", s.Address, now, s.Drops)
	}
}

// The answer to a connectivity test, played again by another relay once its 31 s
// are over, does not move the node there, nor deliver anything. L-03, T-14
func TestReplayedProof(t *testing.T) {
	l := newLab(t, 1, plain)
	n := l.open()
	relay := adversary.Responder{}
	if err := relay.Attach(l.w, l.must(l.w.Host("relay", plain, addr("198.51.100.200"))), netip.AddrPortFrom(netip.Addr{}, 3545)); err != nil {
		t.Fatal(err)
	}
	l.native = func(ping []byte) {
		relay.Say(adversary.Reply{To: n.state().Mapped, Payload: reply(t, ping)})
	}
	r := adversary.Replayer{Match: func(p *sim.Passage) bool {
		return !p.Up && p.Packet[12] == 198 && p.Packet[15] == 200
	}}
	r.Attach(l.w, n.host)
	n.send(native, 100)
	l.run(time.Second)
	up := func() engine.PeerState { p, _ := n.c.Peer(l.w.Now(), native); return p }
	if p := up(); !p.Up || p.Endpoint != relay.Local() || len(r.Captured()) != 1 {
		t.Fatalf("%+v, captured %d", p, len(r.Captured()))
	}
	l.native = nil // the relay falls silent
	_, _, proof, _ := r.Captured()[0].Datagram()
	thief := adversary.Spoofer{}
	host := l.eve()
	thief.Attach(host)
	rogue := netip.AddrPortFrom(host.Addr(), 3545)
	l.run(31 * time.Second)
	for range 60 {
		thief.Send(rogue, n.state().Mapped, proof)
		l.run(time.Second)
		if p := up(); p.Endpoint == rogue || p.Up {
			t.Fatalf("at %v: %+v", l.w.Now().Sub(start), p)
		}
	}
	if len(n.got) != 0 {
		t.Errorf("%d packets delivered", len(n.got))
	}
}

// What is done to the answers of the server on the way, or to the questions,
// leaves the client without an address; as soon as nobody meddles, it has one.
// L-03, T-11
func TestMITMAdvertisement(t *testing.T) {
	meddlers := map[string]func(m *adversary.Message){
		"question's nonce": func(m *adversary.Message) {
			if m.Up && m.To.Port() == wire.Port {
				m.Payload[4]++
			}
		},
		"question without authentication": func(m *adversary.Message) {
			if m.Up && m.To.Port() == wire.Port {
				m.Payload = m.Payload[wire.NonceSize:]
			}
		},
		"swallowed": func(m *adversary.Message) { m.Drop = !m.Up },
	}
	for _, bad := range badAdvertisements() {
		meddlers[bad.name] = func(m *adversary.Message) {
			switch {
			case m.Up:
				// Nothing that passes itself off as the secondary's may be asked for.
				m.Drop = m.To.Addr() == secondary
			default:
				m.From, m.Payload, m.Delay = bad.from, bad.change(m.Payload), bad.after
			}
		}
	}
	for name, rewrite := range meddlers {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 1, plain)
			n := l.node("cone", func(c *engine.ClientConfig) { c.Secondary = secondary })
			m := adversary.MITM{Rewrite: rewrite}
			m.Attach(n.host)
			n.start()
			l.run(time.Minute)
			if s := n.state(); s.Address.IsValid() || n.count(engine.Qualified) != 0 || n.count(engine.ServerUnreachable) == 0 {
				t.Fatalf("%v at %v", s.State, s.Address)
			}
			if s := m.Stats(); s.Changed+s.Swallowed == 0 && name != "late" {
				t.Errorf("the man did nothing: %+v", s)
			}
			m.Detach()
			if !l.until(301*time.Second, n.qualified) {
				t.Errorf("not qualified afterwards: %v", n.state().Drops)
			}
		})
	}
}

// rogue puts somebody else in the place of the server.
func (l *lab) rogue(answer func(now time.Time, from netip.AddrPort, payload []byte) []adversary.Reply) *adversary.Responder {
	l.ports[0].Close()
	r := &adversary.Responder{Answer: answer}
	if err := r.Attach(l.w, l.host, serverPort); err != nil {
		l.t.Fatal(err)
	}
	return r
}

// A server that answers each question with every bad advertisement at once
// qualifies nobody, and one in another place not even with good ones. L-03,
// T-11
func TestRogueServer(t *testing.T) {
	l := newLab(t, 1, plain)
	r := newRig(t, nil)
	elsewhere := l.must(l.w.Host("elsewhere", plain, addr("203.0.113.9")))
	accomplice := adversary.Spoofer{}
	accomplice.Attach(elsewhere)
	n := l.node("cone", nil)
	answers := 0
	l.rogue(func(_ time.Time, from netip.AddrPort, payload []byte) []adversary.Reply {
		rs := engine.Transmit{To: serverPort, Payload: slices.Clone(payload)}
		var lies []adversary.Reply
		for _, bad := range badAdvertisements() {
			lies = append(lies, adversary.Reply{From: bad.from, Payload: bad.change(r.advertise(rs, from)), After: bad.after})
		}
		accomplice.Send(addrPort("203.0.113.9:3544"), from, r.advertise(rs, from))
		answers++
		return lies
	})
	n.start()
	l.run(time.Minute)
	s := n.state()
	if s.Address.IsValid() || n.count(engine.Qualified) != 0 || answers < 6 {
		t.Fatalf("%v at %v after %d answers", s.State, s.Address, answers)
	}
	for _, d := range []engine.Drop{
		engine.DropRASource, engine.DropRANonce, engine.DropRAConfirmation, engine.DropRAOrigin,
		engine.DropRAInvalid, engine.DropRADestination, engine.DropRAServer,
	} {
		if s.Drops[d] == 0 {
			t.Errorf("no drop for %v", d)
		}
	}
}

// The client's own server turns on a third party: it makes up bubbles from
// peers at the victim's address. The client answers within its limits and never
// with more than it got. L-03, T-16
func TestRogueServerReflects(t *testing.T) {
	l := newLab(t, 1, plain)
	n := l.node("cone", nil)
	l.qualify(n)
	address := n.addr()
	v := l.victim(addr("198.51.100.99"))
	r := l.rogue(nil)
	const seconds, perSecond = 10, 500
	in, out := 0, 0
	n.sent = func(t engine.Transmit) { out += len(t.Payload) }
	for i := range seconds * perSecond {
		origin := netip.AddrPortFrom(addr("198.51.100.99"), uint16(2000+i))
		b := indirect(peerAt(origin), address, origin)
		in += len(b)
		r.Say(adversary.Reply{To: n.state().Mapped, Payload: b})
		l.run(time.Second / perSecond)
	}
	if v.Packets == 0 || v.Packets > 50+20*seconds+10 {
		t.Errorf("%d packets to the victim", v.Packets)
	}
	if out > in {
		t.Errorf("%d bytes in, %d out", in, out)
	}
}

// A server under a hundred times its honest load, in forged names, answers
// honest clients at their first try, and sends no victim more than its limit.
// L-03, T-09
func TestFloodedServer(t *testing.T) {
	l := newLab(t, 1, plain)
	const seconds, honest = 10, 100
	reflected, bubbled := l.victim(addr("192.0.2.98")), l.victim(addr("192.0.2.99"))
	target := wire.AddressFrom(primary, 0, addrPort("192.0.2.99:5000")).Addr()
	sources := adversary.Sources(1, anywhere)
	f := adversary.Flooder{
		Rate: honest / seconds * 100 * 4, Time: seconds * time.Second, To: serverPort,
		From: func(i int) netip.AddrPort {
			if i%4 == 1 {
				return netip.AddrPortFrom(addr("192.0.2.98"), uint16(1024+i))
			}
			return sources(i)
		},
		Payload: func(i int, from netip.AddrPort) []byte {
			if i%4 == 3 {
				return wire.AppendBubble(nil, wire.AddressFrom(primary, 0, from).Addr(), target, 64)
			}
			return solicitation(false)
		},
	}
	f.Attach(l.w, l.eve())
	first := 0
	for range honest {
		n := l.node("port-restricted", nil).start()
		l.run(seconds * time.Second / honest)
		if n.qualified() && n.state().Solicitations == 1 {
			first++
		}
	}
	if first < honest*99/100 {
		t.Errorf("%d of %d honest clients had an answer at once", first, honest)
	}
	for _, v := range []*adversary.Victim{reflected, bubbled} {
		if v.Packets == 0 || v.Packets > 200*(seconds+1) {
			t.Errorf("a victim got %d packets in %d s", v.Packets, seconds)
		}
	}
}

// Lies of ICMP about every packet, on both sides of the NAT, cost a flow no
// packet and the client neither its address nor its peer. L-03, T-33
func TestICMPLies(t *testing.T) {
	l := newLab(t, 1, plain)
	a, b := l.node("port-restricted", nil), l.node("port-restricted", nil)
	l.qualify(a, b)
	a.send(b.addr(), 100)
	l.run(time.Second)
	a.got, b.got = nil, nil
	outside, inside := adversary.ICMPLiar{}, adversary.ICMPLiar{Name: "liar on the LAN"}
	outside.Attach(a.router)
	inside.Attach(a.host)
	before := a.addr()
	for range 200 { // refreshes included
		a.send(b.addr(), 100)
		b.send(a.addr(), 100)
		l.run(500 * time.Millisecond)
	}
	if len(a.got) != 200 || len(b.got) != 200 || a.addr() != before || !a.up(b) || a.count(engine.PeerFailed) != 0 {
		t.Errorf("%d and %d packets of 200, address %v, %v", len(a.got), len(b.got), a.addr(), a.events)
	}
	if outside.Stats().Sent < 4000 || inside.Stats().Sent < 4000 {
		t.Errorf("%+v, %+v", outside.Stats(), inside.Stats())
	}
}

// A black hole between client and server, in any direction, costs no address
// while peers answer, and 60 s later it does. L-03, TR-05
func TestBlackHoleKeepsAddress(t *testing.T) {
	for _, test := range []struct {
		name      string
		direction adversary.Direction
	}{{"both", adversary.Both}, {"up", adversary.Up}, {"down", adversary.Down}} {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t, 1, plain)
			a, b := l.node("port-restricted", nil), l.node("port-restricted", nil)
			l.qualify(a, b)
			a.send(b.addr(), 100)
			l.run(time.Second)
			hole := adversary.BlackHole{Direction: test.direction, Remote: []netip.Prefix{netip.PrefixFrom(primary, 30)}}
			hole.Attach(a.router)
			for range 300 {
				a.send(b.addr(), 100)
				b.send(a.addr(), 100)
				l.run(time.Second)
			}
			if a.count(engine.AddressLost) != 0 || a.state().State != engine.Unreachable || len(b.got) != 301 || hole.Stats().Swallowed == 0 {
				t.Fatalf("%v, %d packets, %+v, %v", a.state().State, len(b.got), hole.Stats(), a.events)
			}
			l.run(2 * time.Minute)
			if a.count(engine.AddressLost) != 1 {
				t.Errorf("in silence: %v", a.events)
			}
			hole.Detach()
			if !l.until(301*time.Second, a.qualified) {
				t.Error("not qualified again")
			}
		})
	}
}

// A black hole for a day draws at most 310 questions, each a single packet, and
// its end is noticed within 300 s. L-03, TR-06
func TestBlackHoleBackoff(t *testing.T) {
	l := newLab(t, 1, plain)
	n := l.node("port-restricted", func(c *engine.ClientConfig) { c.Secondary = secondary })
	hole := adversary.BlackHole{}
	hole.Attach(n.router)
	n.start()
	l.run(24 * time.Hour)
	if s := hole.Stats(); s.Swallowed > 310 || s.Swallowed < 280 {
		t.Errorf("%d questions", s.Swallowed)
	}
	hole.Detach()
	if !l.until(301*time.Second, n.qualified) {
		t.Error("not qualified again")
	}
}

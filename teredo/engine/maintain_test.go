package engine_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

// plain is a network without faults, 20 ms to and from everybody.
var plain = link.Config{Delay: 10 * time.Millisecond}

// TR-01: the gaps between solicitations, quick and strict.
func TestSolicitationGaps(t *testing.T) {
	for _, test := range []struct {
		name   string
		strict bool
		want   []time.Duration
		failed time.Duration
	}{
		{"quick", false, []time.Duration{0, 500, 1500, 3500, 7500, 11500}, 15500},
		{"strict", true, []time.Duration{0, 4000, 8000}, 12000},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, func(c *engine.ClientConfig) { c.StrictTimers = test.strict })
			var got []time.Duration
			for range r.begin() {
				got = append(got, 0)
			}
			for len(r.out.Events) == 0 {
				r.now = r.c.Next()
				r.c.Tick(r.now, &r.out)
				for range r.take() {
					got = append(got, r.now.Sub(start)/time.Millisecond)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("solicitations at %v ms, want %v", got, test.want)
			}
			e := r.out.Events[0]
			if e.Kind != engine.ServerUnreachable || r.now.Sub(start) != test.failed*time.Millisecond || r.c.Snapshot().State != engine.Offline {
				t.Errorf("%v at %v, state %v", e.Kind, r.now.Sub(start), r.c.Snapshot().State)
			}
			if gap := e.RetryAt.Sub(r.now); gap < 12*time.Second || gap > 18*time.Second {
				t.Errorf("next try after %v", gap)
			}
		})
	}
}

// TR-01: repeated solicitations alternate between the server's addresses, so
// that a dead primary address costs one gap. Once the secondary answered, the
// primary is asked once more, as bubbles come from there.
func TestSecondaryQualifies(t *testing.T) {
	l := newLab(t, 1, plain)
	n := l.node("port-restricted", func(c *engine.ClientConfig) { c.Secondary = secondary })
	n.deaf = false
	var to []netip.Addr
	n.sent = func(s engine.Transmit) { to = append(to, s.To.Addr()) }
	l.refuse = func(local int) bool { return local == 0 }
	n.start()
	l.run(20 * time.Second)
	if !n.qualified() || !slices.Equal(to, []netip.Addr{primary, secondary, primary}) {
		t.Errorf("%v after solicitations to %v", n.state().State, to)
	}
	if a := n.state().Address; a.Server() != primary {
		t.Errorf("address %v holds server %v", a, a.Server())
	}
}

// TR-10: eight idle hours behind a NAT that forgets after 31 s: the mapping
// lives, bubbles come through at the end, and no state piles up.
func TestIdle(t *testing.T) {
	l := newLab(t, 1, plain)
	short := nat.Config{Filtering: nat.AddressAndPortDependent, Lifetime: 31 * time.Second, Allocation: nat.Random}
	a, b := l.behind(short, nil), l.node("port-restricted", nil)
	l.qualify(a, b)
	address := a.addr()
	l.run(time.Minute)
	before := heap()
	l.run(8 * time.Hour)
	if after := heap(); after > before+before/10+1<<18 {
		t.Errorf("heap grew from %d to %d", before, after)
	}
	if a.addr() != address || a.count(engine.Qualified) != 1 {
		t.Fatalf("address changed: %v", a.events)
	}
	if n := a.state().Solicitations; n < 8*120 || n > 8*160+2 {
		t.Errorf("%d solicitations in 8 h", n)
	}
	b.send(a.addr(), 100)
	if !l.until(time.Second, func() bool { return len(a.got) == 1 }) {
		t.Errorf("unreachable: %v", drops(a, b))
	}
}

// TR-12: a NAT that forgets after 15 s is survived with a refresh of 10 s.
func TestShortRefresh(t *testing.T) {
	l := newLab(t, 1, plain)
	short := nat.Config{Filtering: nat.AddressAndPortDependent, Lifetime: 15 * time.Second, Allocation: nat.Random}
	n := l.behind(short, func(c *engine.ClientConfig) { c.Refresh = 10 * time.Second })
	l.qualify(n)
	address := n.addr()
	l.run(time.Hour)
	if n.addr() != address {
		t.Errorf("address changed %d times", n.count(engine.AddressLost))
	}
}

// TR-02: a new external address, all mappings lost, is noticed within 30 s when idle; the new
// address is live at once, and the old one is given up.
func TestMappingChangeIdle(t *testing.T) {
	for seed := range uint64(50) {
		l := newLab(t, seed+1, plain)
		n := l.behind(nat.Config{Filtering: nat.AddressAndPortDependent, Allocation: nat.Random}, nil)
		l.qualify(n)
		old := n.addr()
		l.run(time.Duration(seed) * time.Second)
		n.renumber()
		n.events = nil
		if !l.until(30*time.Second+40*time.Millisecond, func() bool { return n.addr() != old }) {
			t.Fatalf("seed %d: not noticed", seed)
		}
		if len(n.events) != 2 || n.events[0].Kind != engine.AddressLost || n.events[0].Address.Addr() != old ||
			n.events[1].Kind != engine.Qualified || n.events[1].Address.Addr() != n.addr() {
			t.Errorf("events %+v", n.events)
		}
		if flagsOf(old) == flagsOf(n.addr()) {
			t.Errorf("seed %d: the new address has the old flags", seed)
		}
	}
}

// TR-02: while data flows unanswered the same takes at most 5 s.
func TestMappingChangeBusy(t *testing.T) {
	for seed := range uint64(20) {
		l := newLab(t, seed+1, plain)
		a := l.behind(nat.Config{Filtering: nat.AddressAndPortDependent, Allocation: nat.Random}, nil)
		b := l.node("port-restricted", nil)
		l.qualify(a, b)
		old := a.addr()
		talk := func() {
			a.send(b.addr(), 100)
			if a.addr() == old {
				b.send(old, 100)
			}
			l.run(50 * time.Millisecond)
		}
		for range 60 + seed {
			talk()
		}
		if !a.up(b) || len(a.got) == 0 {
			t.Fatalf("not connected: %v", drops(a, b))
		}
		a.renumber()
		begin := l.w.Now()
		for a.addr() == old && l.w.Now().Sub(begin) < 10*time.Second {
			talk()
		}
		if took := l.w.Now().Sub(begin); took > 5*time.Second {
			t.Errorf("seed %d: noticed after %v", seed, took)
		}
		if n := a.state().Solicitations; n > 8 {
			t.Errorf("seed %d: %d solicitations", seed, n)
		}
	}
}

// TR-03: a change of the host's network is followed by a solicitation at once.
func TestLinkChanged(t *testing.T) {
	r := qualifiedRig(t)
	r.c.LinkChanged(r.now, &r.out)
	sent := r.take()
	if len(sent) != 1 {
		t.Fatalf("sent %v", sent)
	}
	moved := addrPort("192.0.2.55:50000")
	r.receive(serverPort, r.advertise(sent[0], moved))
	if s := r.c.Snapshot(); s.Mapped != moved || s.State != engine.Ready {
		t.Errorf("at %v, %v", s.Mapped, s.State)
	}
}

// TR-05: 24 hours at 10 % loss take no address away.
func TestLossKeepsAddress(t *testing.T) {
	for seed := range uint64(3) {
		l := newLab(t, seed+1, plain)
		n := l.node("port-restricted", nil)
		l.qualify(n)
		l.lossy(crossing(0.10))
		l.run(24 * time.Hour)
		if lost := n.count(engine.AddressLost); lost != 0 {
			t.Errorf("seed %d: address lost %d times", seed, lost)
		}
		t.Logf("%d solicitations, server unreachable %d times", n.state().Solicitations, n.count(engine.ServerUnreachable))
	}
}

// TR-05: an unreachable server costs the address only after 60 s more, and not
// while peers answer.
func TestServerUnreachable(t *testing.T) {
	l := newLab(t, 1, plain)
	a, b := l.node("port-restricted", nil), l.node("port-restricted", nil)
	l.qualify(a, b)
	a.send(b.addr(), 100)
	l.run(time.Second)
	l.down = true
	for range 600 { // ten minutes of talk
		a.send(b.addr(), 100)
		b.send(a.addr(), 100)
		l.run(time.Second)
	}
	if a.count(engine.AddressLost) != 0 || a.count(engine.ServerUnreachable) == 0 || a.state().State != engine.Unreachable {
		t.Fatalf("while peers answer: %v, state %v", a.events, a.state().State)
	}
	if n := len(b.got); n < 590 {
		t.Errorf("%d packets of 600 came through", n)
	}
	end := l.w.Now()
	if !l.until(2*time.Minute, func() bool { return a.count(engine.AddressLost) == 1 }) {
		t.Fatal("address never lost")
	}
	if kept := l.w.Now().Sub(end); kept < 55*time.Second || kept > 61*time.Second {
		t.Errorf("address kept for %v after the last packet", kept)
	}
	if a.addr().IsValid() || a.state().State != engine.Offline {
		t.Errorf("state %v, address %v", a.state().State, a.addr())
	}
	l.down = false
	if !l.until(301*time.Second, a.qualified) {
		t.Error("not qualified again")
	}
}

// TR-06: a server dead for a day is asked at most 310 times; when it returns
// that is noticed within 300 s. A link event asks at once.
func TestBackoff(t *testing.T) {
	for seed := range uint64(10) {
		l := newLab(t, seed+1, plain)
		n := l.node("port-restricted", func(c *engine.ClientConfig) { c.Secondary = secondary })
		l.down = true
		var at []time.Time
		to := map[netip.Addr]int{}
		n.sent = func(s engine.Transmit) { at = append(at, l.w.Now()); to[s.To.Addr()]++ }
		n.start()
		l.run(24 * time.Hour)
		if len(at) > 310 || len(at) < 280 {
			t.Errorf("seed %d: %d solicitations", seed, len(at))
		}
		if to[primary]-to[secondary] < -1 || to[primary]-to[secondary] > 1 {
			t.Errorf("seed %d: %v", seed, to)
		}
		for i, want := range []float64{15, 30, 60, 120, 240} {
			gap := at[6+i].Sub(at[5+i]).Seconds()
			if i == 0 {
				gap -= 4 // the series ends with a wait for its last answer
			}
			if gap < 0.8*want || gap > 1.2*want {
				t.Errorf("seed %d: gap %d is %v s, want about %v", seed, i, gap, want)
			}
		}
		for i := 12; i < len(at); i++ {
			if gap := at[i].Sub(at[i-1]); gap < 285*time.Second || gap > 300*time.Second {
				t.Errorf("seed %d: gap of %v at the cap", seed, gap)
			}
		}
		l.down = false
		if !l.until(301*time.Second, n.qualified) {
			t.Errorf("seed %d: server not found again", seed)
		}
	}
	r := newRig(t, nil)
	r.begin()
	r.pass(time.Hour)
	r.c.LinkChanged(r.now, &r.out)
	if sent := append(r.take(), r.pass(3*time.Second)...); len(sent) != 3 {
		t.Errorf("after a link event %d solicitations in 3 s, want 3", len(sent))
	}
}

// TR-08: duplicates and reordering change no state and deliver no bubble.
func TestDuplicates(t *testing.T) {
	for seed := range uint64(20) {
		line := plain
		line.Duplicate, line.Reorder, line.Hold = 0.3, 0.3, 50*time.Millisecond
		l := newLab(t, seed+1, line)
		a, b := l.node("port-restricted", nil), l.node("address-restricted", nil)
		l.qualify(a, b)
		for range 50 {
			a.send(b.addr(), 100)
			b.send(a.addr(), 100)
			l.run(time.Second)
		}
		for _, n := range []*node{a, b} {
			if n.count(engine.Qualified) != 1 || n.count(engine.AddressLost) != 0 || n.count(engine.PeerUp) != 1 {
				t.Errorf("seed %d: %+v", seed, n.events)
			}
			if len(n.got) < 50 {
				t.Errorf("seed %d: %d packets of 50", seed, len(n.got))
			}
			for _, g := range n.got {
				if g.packet.NextHeader() != wire.ProtoUDP {
					t.Errorf("seed %d: delivered %x", seed, g.packet)
				}
			}
		}
	}
}

// An entry that would lapse is renewed before it does: a flow in one direction
// only never waits for bubbles.
func TestOneWayFlow(t *testing.T) {
	l := newLab(t, 1, plain)
	a, b := l.node("port-restricted", nil), l.node("port-restricted", nil)
	l.qualify(a, b)
	for range 1200 {
		a.send(b.addr(), 100)
		l.run(100 * time.Millisecond)
	}
	if len(b.got) != 1200 {
		t.Errorf("%d packets of 1200", len(b.got))
	}
	for i := 10; i < len(b.got); i++ {
		if gap := b.got[i].at.Sub(b.got[i-1].at); gap != 100*time.Millisecond {
			t.Errorf("packet %d after a gap of %v", i, gap)
		}
	}
}

// TR-11: a server that restarts within a second loses nobody; those who asked meanwhile are
// answered at their next try, and refreshes stay spread.
func TestServerRestart(t *testing.T) {
	const clients = 1000
	l := newLab(t, 1, plain)
	var nodes []*node
	for i := range clients {
		n := l.public(i)
		l.w.At(start.Add(time.Duration(i)*26*time.Millisecond), func() { n.start() })
		nodes = append(nodes, n)
	}
	l.run(2 * time.Minute)
	l.down = true
	l.run(time.Second)
	l.down = false
	l.restart()
	back := l.w.Now()
	buckets := make([]int, 60)
	var first time.Duration
	for _, n := range nodes {
		n.sent = func(engine.Transmit) {
			since := l.w.Now().Sub(back)
			if first == 0 {
				first = since
			}
			if i := int(since / time.Second); i < len(buckets) {
				buckets[i]++
			}
		}
	}
	l.run(time.Minute)
	sum := 0
	for _, n := range buckets {
		sum += n
	}
	// The first second also has those who asked in vain in the second before.
	mean := float64(sum) / 60
	if peak := slices.Max(buckets[1:]); float64(peak) > 2*mean || float64(buckets[0]) > 2.5*mean || sum < 2*clients {
		t.Errorf("peak of %d a second, mean %.0f: %v", peak, mean, buckets)
	}
	if first > time.Second {
		t.Errorf("first solicitation after %v", first)
	}
	for _, n := range nodes {
		if n.count(engine.AddressLost) != 0 || !n.qualified() {
			t.Fatalf("%s: %v", n.name, n.events)
		}
	}
}

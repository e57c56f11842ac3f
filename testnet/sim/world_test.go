package sim_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
)

func TestDeliveryTakesBothLines(t *testing.T) {
	n := newLab(t, 1)
	a, b := n.bind(n.host("a", "198.51.100.1"), 1), n.bind(n.host("b", "198.51.100.2"), 2)
	a.send(b.LocalAddr(), "hello")
	n.run(time.Second)
	if from := b.last("hello"); from != a.LocalAddr() {
		t.Errorf("from %v", from)
	}
	if got := b.at[0].Sub(start); got != 20*ms {
		t.Errorf("took %v, want both lines' 20 ms", got)
	}
	if !n.Now().Equal(start.Add(time.Second)) {
		t.Errorf("the clock shows %v", n.Now())
	}
}

// Events run in the order of their time, and of their making where equal;
// Next tells the first.
func TestClock(t *testing.T) {
	w := sim.New(1, start)
	if _, ok := w.Next(); ok {
		t.Error("an empty world has something to do")
	}
	var got []string
	note := func(s string) func() {
		return func() { got = append(got, fmt.Sprint(s, " ", w.Now().Sub(start))) }
	}
	w.At(start.Add(3*ms), note("c"))
	w.At(start.Add(1*ms), note("a"))
	w.At(start.Add(1*ms), func() {
		note("b")()
		w.At(w.Now(), note("b2"))
		w.At(start, note("past"))
	})
	if at, ok := w.Next(); !ok || !at.Equal(start.Add(ms)) {
		t.Errorf("next at %v, %v", at, ok)
	}
	w.Advance(start.Add(2 * ms))
	want := "[a 1ms b 1ms b2 1ms past 1ms]"
	if fmt.Sprint(got) != want {
		t.Errorf("%v, want %v", got, want)
	}
	if w.Settle(ms / 2) {
		t.Error("settled with an event ahead")
	}
	if !w.Settle(ms) || fmt.Sprint(got[4:]) != "[c 3ms]" {
		t.Errorf("%v", got[4:])
	}
	w.Advance(start)
	if !w.Now().Equal(start.Add(3 * ms)) {
		t.Errorf("the clock went back to %v", w.Now())
	}
}

// busyWeek runs a world with every fault at once and returns its trace hash.
func busyWeek(t *testing.T, seed uint64, extra bool) string {
	t.Helper()
	n := newLab(t, seed)
	h := sim.NewHash()
	n.SetTrace(func(e sim.Event) {
		if e.Node != "bystander" {
			h.Add(e)
		}
	})
	line := link.Config{Delay: 20 * ms, Jitter: 10 * ms, Loss: 0.1, Burst: 2, Reorder: 0.1, Duplicate: 0.1, Rate: 1e6}
	server, err := n.Host("server", line, addr("198.51.100.1"))
	if err != nil {
		t.Fatal(err)
	}
	if extra {
		n.host("bystander", "198.51.100.77")
	}
	home := n.router("home", "symmetric", "203.0.113.1")
	service, alice := n.bind(server, 3544), n.bind(n.behind(home, "alice", "192.168.1.2"), 5000)
	for i := range 300 {
		alice.send(service.LocalAddr(), fmt.Sprint("question ", i))
		n.run(7 * ms)
		for ; len(service.from) > 0; service.from = service.from[1:] {
			service.send(service.from[0], fmt.Sprint("answer ", i))
		}
	}
	n.run(time.Minute)
	if h.Len() < 500 || len(alice.got) < 100 {
		t.Fatalf("only %d events, %d answers", h.Len(), len(alice.got))
	}
	return h.Sum()
}

// L-02: the same seed gives the same trace, another seed another one, and a
// host that nobody talks to changes nobody's luck. L-04: under loss in bursts,
// reordering, duplication, jitter and a rate.
func TestDeterminism(t *testing.T) {
	a, b := busyWeek(t, 1, false), busyWeek(t, 1, false)
	if a != b {
		t.Errorf("seed 1 twice: %s and %s", a, b)
	}
	if c := busyWeek(t, 2, false); c == a {
		t.Error("seed 2 gave the trace of seed 1")
	}
	if d := busyWeek(t, 1, true); d != a {
		t.Error("a bystander changed the trace")
	}
}

// The hash notices a change of any part of an event.
func TestHash(t *testing.T) {
	base := sim.Event{Time: start, Node: "a", Kind: sim.Sent, Reason: "r", Packet: []byte{1, 2}}
	sum := func(e sim.Event) string {
		h := sim.NewHash()
		h.Add(e)
		return h.Sum()
	}
	for name, f := range map[string]func(*sim.Event){
		"time":   func(e *sim.Event) { e.Time = e.Time.Add(1) },
		"node":   func(e *sim.Event) { e.Node = "b" },
		"kind":   func(e *sim.Event) { e.Kind = sim.Dropped },
		"reason": func(e *sim.Event) { e.Reason = "" },
		"packet": func(e *sim.Event) { e.Packet = []byte{1, 3} },
	} {
		e := base
		f(&e)
		if sum(e) == sum(base) {
			t.Errorf("%s does not count", name)
		}
	}
	if sum(base) != sum(base) || sim.NewHash().Sum() == sum(base) {
		t.Error("not a hash")
	}
}

func TestNamesAndAddressesAreUnique(t *testing.T) {
	n := newLab(t, 1)
	n.host("a", "198.51.100.1")
	if _, err := n.Host("a", link.Config{}, addr("198.51.100.2")); err == nil {
		t.Error("a name was taken twice")
	}
	if _, err := n.Host("b", link.Config{}, addr("198.51.100.1")); !errors.Is(err, sim.ErrAddressInUse) {
		t.Errorf("an address was taken twice: %v", err)
	}
	for _, bad := range []string{"ff02::1", "::1", "fe80::1", "::", "224.0.0.1", "0.0.0.0", "255.255.255.255"} {
		if _, err := n.Host("b", link.Config{}, addr(bad)); !errors.Is(err, sim.ErrBadAddress) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if _, err := n.Host("b", link.Config{}); err == nil {
		t.Error("a host without address")
	}
	if _, err := n.Host("b", link.Config{Loss: 3}, addr("198.51.100.2")); err == nil {
		t.Error("a line that loses 300 %")
	}
	if _, err := n.Router("b", nat.Config{}, link.Config{}); err == nil {
		t.Error("a router without external address")
	}
	if _, err := n.Router("b", config(t, "cone", "198.51.100.1"), link.Config{}); !errors.Is(err, sim.ErrAddressInUse) {
		t.Error("a router with the address of a host")
	}
	// What failed has left nothing behind.
	n.host("b", "198.51.100.2")
}

// A host may have several addresses, gained and lost while it runs.
func TestSeveralAddresses(t *testing.T) {
	n := newLab(t, 1)
	h := n.host("server", "198.51.100.1")
	all, a := n.bind(h, 3544), n.bind(n.host("a", "198.51.100.9"), 1)
	second := addrPort("198.51.100.2:3544")
	a.send(second, "early")
	n.run(time.Second)
	n.dropped("internet", "no host has this address")

	if err := h.AddAddr(second.Addr()); err != nil {
		t.Fatal(err)
	}
	a.send(second, "to all")
	n.run(time.Second)
	all.last("to all")

	var got string
	one, err := h.BindUDPAddr(second, func(_ time.Time, _ netip.AddrPort, b []byte) { got = string(b) })
	if err != nil {
		t.Fatal(err)
	}
	a.send(second, "to one")
	n.run(time.Second)
	if got != "to one" || len(all.got) != 1 {
		t.Errorf("the exact port got %q, the other %q", got, all.got)
	}
	one.SendTo(a.LocalAddr(), []byte("from second"))
	n.run(time.Second)
	if from := a.last("from second"); from != second {
		t.Errorf("answer from %v", from)
	}
	if _, err := h.BindUDPAddr(addrPort("198.51.100.3:1"), nil); !errors.Is(err, sim.ErrBadAddress) {
		t.Errorf("bound to an address of somebody else: %v", err)
	}
	if err := h.RemoveAddr(second.Addr()); err != nil {
		t.Fatal(err)
	}
	a.send(second, "late")
	n.run(time.Second)
	n.dropped("internet", "no host has this address")
	if err := h.RemoveAddr(h.Addr()); err == nil {
		t.Error("the last address was removed")
	}
}

func TestPorts(t *testing.T) {
	n := newLab(t, 1)
	h, a := n.host("h", "198.51.100.1"), n.bind(n.host("a", "198.51.100.2"), 1)
	p := n.bind(h, 7)
	if _, err := h.BindUDP(7, nil); !errors.Is(err, sim.ErrPortInUse) {
		t.Errorf("bound twice: %v", err)
	}
	q, r := n.bind(h, 0), n.bind(h, 0)
	if x, y := q.LocalAddr().Port(), r.LocalAddr().Port(); x < 49152 || y < 49152 || x == y {
		t.Errorf("picked %d and %d", x, y)
	}
	to := p.LocalAddr()
	p.Close()
	p.Close()
	if err := p.SendTo(a.LocalAddr(), nil); err == nil {
		t.Error("sent on a closed port")
	}
	a.send(to, "x")
	n.run(time.Second)
	n.dropped("h", "no socket on this port")
	n.bind(h, 7)
	if err := a.SendTo(addrPort("[2001:db8::1]:1"), nil); err == nil {
		t.Error("sent to IPv6")
	}
	if err := a.SendTo(to, make([]byte, 65508)); err == nil {
		t.Error("sent 65508 bytes")
	}
	big := n.bind(h, 8)
	if err := a.SendTo(big.LocalAddr(), make([]byte, 65507)); err != nil {
		t.Error(err)
	}
	n.run(time.Second)
	if len(big.got) != 1 || len(big.got[0]) != 65507 {
		t.Error("65507 bytes did not arrive")
	}
}

// A world holds a bounded number of packets, and counts what it refuses.
func TestMaxInFlight(t *testing.T) {
	w := sim.New(1, start)
	a, err := w.Host("a", link.Config{Delay: time.Hour}, addr("198.51.100.1"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := a.BindUDP(1, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range sim.MaxInFlight + 5 {
		p.SendTo(addrPort("198.51.100.2:1"), nil)
	}
	if s := w.Stats(); s.Busy != 5 || s.Dropped != 5 {
		t.Errorf("%+v", s)
	}
	if !w.Settle(2 * time.Hour) {
		t.Error("not settled")
	}
	if s := w.Stats(); s.Dropped != s.Sent {
		t.Errorf("packets were lost without a count: %+v", s)
	}
}

// L-05: the invariant sees a loop even though the time to live changes.
func TestNoRepeat(t *testing.T) {
	n := newLab(t, 1)
	a, b := n.host("a", "198.51.100.1"), n.host("b", "198.51.100.2")
	hops := 0
	forward := func(h *sim.Host) func(time.Time, []byte) {
		return func(_ time.Time, pkt []byte) {
			if hops++; hops < 6 {
				h.Send(pkt)
			}
		}
	}
	b.Receive = forward(b) // sends what is for b back to b
	n.bind(a, 1).send(addrPort("198.51.100.2:9"), "loop")
	n.run(time.Second)
	// The Internet refuses to hand a packet back where it came from, so the
	// loop is cut at once.
	n.dropped("internet", "destination is on the network it came from")

	var seen []string
	check := sim.NoRepeat(func(t sim.Transit) { seen = append(seen, t.Line) })
	pkt := []byte{0x45, 0, 0, 20, 0, 1, 0, 0, 64, 17, 0, 0, 198, 51, 100, 1, 198, 51, 100, 2}
	sum := func() {
		pkt[10], pkt[11] = 0, 0
		var s uint32
		for i := 0; i < 20; i += 2 {
			s += uint32(pkt[i])<<8 | uint32(pkt[i+1])
		}
		s = s&0xffff + s>>16
		pkt[10], pkt[11] = ^byte(s>>8), ^byte(s)
	}
	sum()
	check(sim.Transit{Line: "a/up", Packet: pkt})
	check(sim.Transit{Line: "b/up", Packet: pkt})
	pkt[5] = 2 // another identification
	sum()
	check(sim.Transit{Line: "a/up", Packet: pkt})
	if len(seen) != 0 {
		t.Fatalf("reported %v", seen)
	}
	pkt[8] = 63 // one hop later
	sum()
	check(sim.Transit{Line: "a/up", Packet: pkt})
	if fmt.Sprint(seen) != "[a/up]" {
		t.Errorf("reported %v, want a/up", seen)
	}

	// A kernel's identifications come round after 65536 packets, or, since they
	// go on with time, sooner for the few packets of a slow program.
	number := func(id int) {
		pkt[4], pkt[5] = byte(id>>8), byte(id)
		sum()
	}
	seen = nil
	for id := range 2 << 16 {
		number(id)
		check(sim.Transit{Line: "b/down", Packet: pkt})
	}
	number(1)
	for i := range 3 {
		check(sim.Transit{Time: start.Add(time.Duration(i) * 30 * time.Second), Line: "a/down", Packet: pkt})
	}
	if len(seen) != 0 {
		t.Errorf("reported %v as loops", seen)
	}

	// Where a kernel numbers packets twice, the world's own number decides.
	check = sim.NoRepeatOfNumber(func(t sim.Transit) { seen = append(seen, fmt.Sprint(t.Line, t.ID)) })
	for _, id := range []uint64{1, 2, 3, 2} {
		check(sim.Transit{Line: "b/down", ID: id, Packet: pkt})
	}
	if fmt.Sprint(seen) != "[b/down2]" {
		t.Errorf("reported %v, want b/down2", seen)
	}
}

package trace_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/invariant"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
	"shipworm/testnet/trace"
)

// story spells a journey: "alice sent, home of alice forwarded, ...".
func story(r *trace.Recorder, journey uint64) string {
	var s []string
	for _, e := range r.Events() {
		if e.Journey == journey {
			s = append(s, e.Node+" "+e.Kind.String())
		}
	}
	return strings.Join(s, ", ")
}

// Every sighting of a packet has its journey, on all lines and through all
// translations, whatever the lines do to it; and what becomes of a packet is
// known for each line.
func TestJourneys(t *testing.T) {
	for seed := range uint64(20) {
		h := newHomes(t, seed)
		bad := link.Config{
			Delay: 5 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.1, Reorder: 0.2, Duplicate: 0.2,
		}
		for _, set := range []func(link.Config) error{h.left.SetLink, h.right.SetLink, h.alice.SetLink, h.bob.SetLink} {
			if err := set(bad); err != nil {
				t.Fatal(err)
			}
		}
		r := trace.New(trace.Config{})
		r.Attach(h.World)
		for i := range uint32(200) {
			h.a.SendTo(bobAt, binary.BigEndian.AppendUint32(nil, 2*i))
			h.b.SendTo(aliceAt, binary.BigEndian.AppendUint32(nil, 2*i+1))
			h.run(time.Millisecond)
		}
		h.Settle(time.Hour)

		journeys, payloads := map[uint32]uint64{}, map[uint64]uint32{}
		check := func(what string, journey uint64, data []byte) {
			p := binary.BigEndian.Uint32(data[28:])
			if old, ok := journeys[p]; ok && old != journey {
				t.Errorf("seed %d: packet %d is journey %d and %d at %s", seed, p, old, journey, what)
			}
			if old, ok := payloads[journey]; ok && old != p {
				t.Errorf("seed %d: journey %d is packet %d and %d at %s", seed, journey, old, p, what)
			}
			journeys[p], payloads[journey] = journey, p
		}
		copies := 0
		for _, p := range r.Packets() {
			check(p.Line, p.Journey, p.Data)
			if p.After.Node == "" || p.Then.Node == "" || p.Then.Time.Before(p.Time) || p.After.Time.After(p.Time) {
				t.Errorf("seed %d: %+v: %s", seed, p, p.Comment())
			}
			if p.Duplicate {
				copies++
			}
		}
		next := map[string][]string{
			"alice": {"home of alice"}, "home of alice": {"alice", "home of bob"},
			"home of bob": {"bob", "home of alice"}, "bob": {"home of bob"},
		}
		for _, e := range r.Events() {
			check(e.Node, e.Journey, e.Data)
			node := strings.TrimSuffix(strings.TrimSuffix(e.Node, "/up"), "/down")
			switch {
			case e.Kind == sim.Sent && e.From != "":
				t.Errorf("seed %d: sent, but from %s", seed, e.From)
			case e.Kind != sim.Sent && !slices.Contains(next[e.From], node) && !(e.Kind == sim.Dropped && e.From == node):
				t.Errorf("seed %d: %s %s, from %q", seed, e.Node, e.Kind, e.From)
			}
		}
		if len(journeys) != 400 || copies == 0 {
			t.Errorf("seed %d: %d journeys, %d copies", seed, len(journeys), copies)
		}
	}
}

// What goes from a host whose router is known to a neighbour that nobody has
// seen before arrives all the same.
func TestNewNeighbour(t *testing.T) {
	h := newHomes(t, 1)
	r := trace.New(trace.Config{})
	r.Attach(h.World)
	h.punch()
	if _, err := h.left.Host("carol", link.Config{}, netip.MustParseAddr("192.168.1.3")); err != nil {
		t.Fatal(err)
	}
	h.a.SendTo(netip.MustParseAddrPort("192.168.1.3:7"), []byte("hi"))
	h.run(time.Second)
	all := r.Packets()
	var got []string
	for _, p := range all[len(all)-2:] {
		got = append(got, p.Line+": "+p.Comment())
	}
	want := []string{
		"alice: alice sent; passed on to carol",
		"carol: alice sent; carol dropped: no socket on this port",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Two homes have neighbours of the same addresses who say the same at a time:
// each packet stays in its home.
func TestSameNeighbours(t *testing.T) {
	h := newHomes(t, 1)
	r := trace.New(trace.Config{})
	r.Attach(h.World)
	h.punch()
	carolAt := netip.MustParseAddr("192.168.1.3")
	for name, home := range map[string]*sim.Router{"carol": h.left, "dave": h.right} {
		host, err := home.Host(name, link.Config{}, carolAt)
		if err != nil {
			t.Fatal(err)
		}
		host.Send(ipv4.AppendUDP(nil, 1, netip.AddrPortFrom(carolAt, 9), serverAt, []byte(name)))
	}
	h.run(time.Second)
	if err := h.alice.SetLink(link.Config{Delay: 3 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	before := len(r.Packets())
	for _, from := range []*sim.Host{h.alice, h.bob} {
		from.Send(ipv4.AppendUDP(nil, 77, netip.MustParseAddrPort("192.168.1.2:9000"), netip.AddrPortFrom(carolAt, 9), []byte("same")))
	}
	h.run(time.Second)
	var got []string
	for _, p := range r.Packets()[before:] {
		got = append(got, p.Line+": "+p.Comment())
	}
	want := []string{
		"alice: alice sent; passed on to carol",
		"bob: bob sent; passed on to dave",
		"carol: alice sent; carol dropped: no socket on this port",
		"dave: bob sent; dave dropped: no socket on this port",
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A router that numbers packets anew, as RFC 7857, 10 wants it, does not end
// their journeys, even if another one on its way has the number already.
func TestRewrittenIdentification(t *testing.T) {
	h := newHomes(t, 1)
	r := trace.New(trace.Config{})
	r.Attach(h.World)
	c, _ := nat.Profile("cgn")
	c.External = []netip.Addr{netip.MustParseAddr("198.51.100.77")}
	carrier, err := h.Router("carrier", c, link.Config{Delay: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	carol, err := carrier.Host("carol", link.Config{Delay: 5 * time.Millisecond}, netip.MustParseAddr("100.64.0.2"))
	if err != nil {
		t.Fatal(err)
	}
	// They overtake, and the carrier numbers them from 1 as they come.
	for i := range uint16(5) {
		pkt := ipv4.AppendUDP(nil, 5-i, netip.MustParseAddrPort("100.64.0.2:5000"), serverAt, binary.BigEndian.AppendUint16(nil, i))
		carol.Send(pkt)
		h.run(time.Millisecond)
	}
	h.run(time.Second)
	for i := range uint64(5) {
		if s := story(r, i+1); s != "carol sent, carrier forwarded, server delivered" {
			t.Errorf("%d: %s", i+1, s)
		}
	}
	for _, p := range r.Packets() {
		if p.Then.Node == "" || p.Journey <= 5 && p.Journey != uint64(p.Data[29])+1 {
			t.Errorf("%s: journey %d of packet %d: %s", p.Line, p.Journey, p.Data[29], p.Comment())
		}
	}
}

// Packets that nobody can tell apart keep their order.
func TestEqualPackets(t *testing.T) {
	h := newHomes(t, 1, invariant.Repeat)
	h.punch()
	h.left.SetLink(link.Config{Delay: 5 * time.Millisecond})
	r := trace.New(trace.Config{})
	r.Attach(h.World)
	pkt := ipv4.AppendUDP(nil, 7, netip.AddrPortFrom(h.alice.Addr(), 5000), bobAt, []byte("again"))
	for range 3 {
		h.alice.Send(pkt)
		h.run(time.Millisecond) // the earlier ones are still on the way
	}
	h.run(time.Second)
	for j := range uint64(3) {
		if s := story(r, j+1); s != "alice sent, home of alice forwarded, home of bob forwarded, bob delivered" {
			t.Errorf("journey %d: %s", j+1, s)
		}
	}
}

// Each way to be dropped, and each turn that a packet can take.
func TestStories(t *testing.T) {
	inner := func(h *homes) *sim.Host {
		c, _ := nat.Profile("cone")
		c.External = []netip.Addr{netip.MustParseAddr("192.168.1.10")}
		r, err := h.left.Router("inner", c, link.Config{Delay: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		host, err := r.Host("eve", link.Config{}, netip.MustParseAddr("10.0.0.2"))
		if err != nil {
			t.Fatal(err)
		}
		return host
	}
	for _, c := range []struct {
		name  string
		play  func(h *homes)
		want  string
		order string
	}{
		{"nested", func(h *homes) { p, _ := inner(h).BindUDP(9, ignore); p.SendTo(serverAt, nil) },
			"eve sent, inner forwarded, home of alice forwarded, server delivered",
			"eve, inner, home of alice, server"},
		{"no host", func(h *homes) { h.a.SendTo(netip.MustParseAddrPort("198.51.100.99:1"), nil) },
			"alice sent, home of alice forwarded, internet dropped", "alice, home of alice"},
		{"too big", func(h *homes) {
			h.alice.SetLink(link.Config{MTU: 30})
			pkt := ipv4.AppendUDP(nil, 1, netip.AddrPortFrom(h.alice.Addr(), 5000), serverAt, []byte("large"))
			pkt[6], pkt[10], pkt[11] = 0x40, 0, 0 // do not fragment
			sum := ^ipv4.Fold(ipv4.Sum(pkt[:20], 0))
			pkt[10], pkt[11] = byte(sum>>8), byte(sum)
			h.alice.Send(pkt)
		},
			"alice sent, alice/up dropped", "alice, home of alice"}, // which reports it
		{"loss on the way down", func(h *homes) {
			h.b.SendTo(serverAt, nil)
			h.run(21 * time.Millisecond)
			h.bob.SetLink(link.Config{Loss: 1})
		}, "bob sent, home of bob forwarded, server delivered", "bob, home of bob, server"},
		{"malformed", func(h *homes) { h.alice.Send([]byte("junk")) }, "alice sent, home of alice/lan dropped", "alice"},
		{"no socket", func(h *homes) { h.a.SendTo(netip.AddrPortFrom(serverAt.Addr(), 1), nil) },
			"alice sent, home of alice forwarded, server dropped", "alice, home of alice, server"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHomes(t, 1, invariant.Checksum)
			r := trace.New(trace.Config{})
			r.Attach(h.World)
			c.play(h)
			h.Settle(time.Hour)
			if s := story(r, 1); s != c.want {
				t.Errorf("%s, want %s", s, c.want)
			}
			if s := strings.Join(r.Trace(trace.Filter{}).Nodes, ", "); s != c.order {
				t.Errorf("order %s, want %s", s, c.order)
			}
			for _, p := range r.Packets() {
				if p.Then.Node == "" {
					t.Errorf("%s: %s", p.Line, p.Comment())
				}
			}
		})
	}
}

// What a hairpin and a ping of the router look like.
func TestTurns(t *testing.T) {
	h := newHomes(t, 1)
	cfg, _ := nat.Profile("cone")
	cfg.External = []netip.Addr{netip.MustParseAddr("203.0.113.9")}
	cfg.Hairpin = nat.HairpinExternalSource
	cafe, err := h.Router("cafe", cfg, link.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var ports []*sim.UDPPort
	var guests []*sim.Host
	for i, who := range []string{"carol", "dave"} {
		g, err := cafe.Host(who, link.Config{}, netip.AddrFrom4([4]byte{10, 0, 0, byte(2 + i)}))
		if err != nil {
			t.Fatal(err)
		}
		p, _ := g.BindUDP(uint16(700+i), ignore)
		p.SendTo(serverAt, nil)
		ports, guests = append(ports, p), append(guests, g)
	}
	h.run(time.Second)
	r := trace.New(trace.Config{})
	r.Attach(h.World)
	ports[0].SendTo(netip.MustParseAddrPort("203.0.113.9:701"), []byte("hi"))
	guests[0].Receive = func(time.Time, []byte) {}
	guests[0].Send(ipv4.AppendEcho(nil, ipv4.EchoRequest, guests[0].Addr(), cfg.External[0], 1, 1, []byte("ping")))
	h.run(time.Second)
	for j, want := range map[uint64]string{
		1: "carol sent, cafe hairpinned, dave delivered",
		2: "carol sent, cafe delivered",
		3: "cafe sent, carol delivered",
	} {
		if s := story(r, j); s != want {
			t.Errorf("journey %d: %s, want %s", j, s, want)
		}
	}
}

// Memory is bounded by packets and by bytes; what had no room is counted, and
// what came first stays.
func TestBounds(t *testing.T) {
	all := record(t, 1, trace.Config{})
	events, packets := all.Events(), all.Packets()
	few := record(t, 1, trace.Config{Keep: 5})
	if got, lost := few.Packets(), few.Lost(); len(got) != 5 || int(lost.Packets) != len(packets)-5 || got[0].Line != packets[0].Line {
		t.Errorf("%d packets, %+v lost", len(got), lost)
	}
	if got, lost := few.Events(), few.Lost(); len(got) != 5 || int(lost.Events) != len(events)-5 || got[4].Node != events[4].Node {
		t.Errorf("%d events, %+v lost", len(got), lost)
	}
	small := record(t, 1, trace.Config{Bytes: 100})
	bytes := map[*byte]int{}
	for _, p := range small.Packets() {
		bytes[&p.Data[0]] = len(p.Data)
	}
	for _, e := range small.Events() {
		bytes[&e.Data[0]] = len(e.Data)
	}
	sum := 0
	for _, n := range bytes {
		sum += n
	}
	if lost := small.Lost(); sum == 0 || sum > 100 || lost.Packets == 0 || lost.Events == 0 {
		t.Errorf("%d bytes kept, %+v lost", sum, lost)
	}
	for _, f := range forms { // and every form still works
		if err := f.write(small.Trace(trace.Filter{}), &strings.Builder{}); err != nil {
			t.Errorf("%s: %v", f.file, err)
		}
	}
}

// Links restricts the packets, not the events, and changes no journey.
func TestLinks(t *testing.T) {
	all, one := record(t, 1, trace.Config{}), record(t, 1, trace.Config{Links: []string{"server"}})
	if len(one.Events()) != len(all.Events()) || one.Lost() != (trace.Lost{}) {
		t.Errorf("%d events, want %d; lost %+v", len(one.Events()), len(all.Events()), one.Lost())
	}
	for i, e := range one.Events() {
		if w := all.Events()[i]; e.Journey != w.Journey || e.From != w.From {
			t.Errorf("event %d: journey %d from %s, want %d from %s", i, e.Journey, e.From, w.Journey, w.From)
		}
	}
	got := one.Packets()
	want := slices.DeleteFunc(all.Packets(), func(p trace.Packet) bool { return p.Line != "server" })
	if len(got) != len(want) || len(want) != 2 {
		t.Fatalf("%d packets, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i].Comment() != want[i].Comment() {
			t.Errorf("%s, want %s", got[i].Comment(), want[i].Comment())
		}
	}
}

// A stopped Recorder records nothing more.
func TestStop(t *testing.T) {
	h := newHomes(t, 1)
	r := trace.New(trace.Config{})
	r.Attach(h.World)
	h.a.SendTo(serverAt, nil)
	r.Stop()
	h.run(time.Second)
	if n, m := len(r.Events()), len(r.Packets()); n != 1 || m != 1 {
		t.Errorf("%d events and %d packets", n, m)
	}
}

// A trace can be taken while the world runs.
func TestConcurrentUse(t *testing.T) {
	h := newHomes(t, 1)
	r := trace.New(trace.Config{})
	r.Attach(h.World)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { h.Run(ctx) })
	wg.Go(func() {
		for i := range 200 {
			h.Do(func() { h.a.SendTo(serverAt, fmt.Append(nil, i)) })
		}
		cancel()
	})
	for range 20 {
		if err := r.WriteText(&strings.Builder{}); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	h.Settle(time.Hour) // Run may have ended before the last were on their way
	if n := len(r.Events()); n < 400 {
		t.Errorf("%d events", n)
	}
}

// A packet that a line corrupted or a gateway rewrote is the same packet.
func TestChangedOnTheWay(t *testing.T) {
	r := trace.New(trace.Config{})
	from, to := netip.MustParseAddrPort("192.168.1.2:21"), serverAt
	as := func(src netip.AddrPort, payload string) []byte {
		return ipv4.AppendTCP(nil, 77, src, to, 0x18, []byte(payload))
	}
	other := ipv4.AppendTCP(nil, 78, from, to, 0x18, []byte("PORT 192,168,1,2,0,9"))
	event := func(node string, k sim.Kind, pkt []byte) {
		r.OnEvent(sim.Event{Time: start, Node: node, Kind: k, Packet: pkt})
	}
	transit := func(line string, up bool, pkt []byte) {
		r.OnTransit(sim.Transit{Time: start, Line: line, Up: up, Packet: pkt})
	}
	inside, outside := as(from, "PORT 192,168,1,2,0,9"), as(aliceAt, "PORT 203,0,113,1,0,9")
	event("alice", sim.Sent, other)
	transit("alice/up", true, other)
	event("alice", sim.Sent, inside)
	transit("alice/up", true, inside)
	event("home", sim.Forwarded, outside)
	transit("home/up", true, outside)
	broken := slices.Clone(outside)
	broken[41] ^= 1
	transit("server/down", false, broken)
	broken = slices.Clone(broken)
	broken[42] ^= 1
	event("server", sim.Dropped, broken)
	if s := story(r, 2); s != "alice sent, home forwarded, server dropped" {
		t.Error(s)
	}
	var lines []string
	for _, p := range r.Packets() {
		if p.Journey == 2 {
			lines = append(lines, p.Line+": "+p.Comment())
		}
	}
	want := []string{
		"alice: alice sent; home forwarded", "home: home forwarded; passed on to server", "server: home forwarded; server dropped",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("%q", lines)
	}
}

// A flood of equal packets costs no more than others, and each is accounted
// for.
func TestFloodOfEqualPackets(t *testing.T) {
	h := newHomes(t, 1, invariant.Repeat)
	h.left.SetLink(link.Config{Delay: time.Second, Loss: 0.5})
	r := trace.New(trace.Config{})
	r.Attach(h.World)
	pkt := ipv4.AppendUDP(nil, 7, netip.AddrPortFrom(h.alice.Addr(), 5000), serverAt, []byte("flood"))
	const n = 10000
	began := time.Now()
	for range n {
		h.alice.Send(pkt)
		h.run(time.Microsecond)
	}
	h.Settle(time.Hour)
	if d := time.Since(began); d > 30*time.Second {
		t.Errorf("took %v", d)
	}
	ends := map[uint64]int{}
	for _, e := range r.Events() {
		if e.Kind == sim.Dropped || e.Kind == sim.Delivered {
			ends[e.Journey]++
		}
	}
	for j, k := range ends {
		if k != 1 {
			t.Fatalf("journey %d ended %d times", j, k)
		}
	}
	if len(ends) < n || r.Lost() != (trace.Lost{}) {
		t.Errorf("%d journeys ended, lost %+v", len(ends), r.Lost())
	}
}

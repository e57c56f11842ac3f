// Package sim is an Internet in one process: hosts, NAT routers and lines
// under one clock, moving raw IPv4 and IPv6 packets. The engines are those of
// testnet/nat and testnet/link; the same seed and calls give the same packets
// at the same nanosecond (see [Hash]).
//
// A [World] is a pure machine: [World.Next] says when something happens and
// [World.Advance] lets it happen. Tests step it in virtual time; a laboratory
// pumps it on the real clock; [World.Run] does that for ordinary blocking code
// over [Host.ListenPacket], on the real clock or inside testing/synctest.
//
// The shape of the network is a tree: the Internet is one cloud that delivers
// by destination address; a router has its external addresses on the network
// above and a LAN below, where hosts reach each other directly. Every host and
// router hangs on its network by an access line whose link.Config holds for
// each direction. Hosts answer nothing by themselves: no ping, no closed port.
// A packet larger than a line is cut into fragments, or dropped if it forbids
// that; hosts put fragments together for their UDP ports. An adversary sits on a
// line ([Host.Tap]) or is a host that forges ([Host.SendForged]); see package
// adversary.
//
// IPv6 is routed and not translated: a router has a prefix for its LAN
// ([Router.Delegate]) and may have a firewall before it ([Router.SetFirewall]).
// Nobody cuts IPv6 packets; routers report those that are too big. Left out:
// ARP, neighbour discovery, routing protocols, fragments with IP options, and
// putting IPv6 fragments together for UDP ports.
//
//	w := sim.New(1, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
//	server, _ := w.Host("server", link.Config{Delay: 20 * time.Millisecond}, netip.MustParseAddr("198.51.100.1"))
//	cfg, _ := nat.Profile("port-restricted")
//	cfg.External = []netip.Addr{netip.MustParseAddr("203.0.113.1")}
//	home, _ := w.Router("home", cfg, link.Config{Delay: 5 * time.Millisecond})
//	alice, _ := home.Host("alice", link.Config{}, netip.MustParseAddr("192.168.1.2"))
//	port, _ := alice.BindUDP(0, func(now time.Time, from netip.AddrPort, b []byte) {})
//	port.SendTo(netip.MustParseAddrPort("198.51.100.1:3544"), []byte("hello"))
//	w.Advance(w.Now().Add(time.Second))
//	_ = server
package sim

import (
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"time"
)

// MaxInFlight bounds the packets inside a World; more are dropped with
// ReasonBusy.
const MaxInFlight = 1 << 16

// Errors of building a network.
var (
	ErrAddressInUse = errors.New("address is in use")
	ErrPortInUse    = errors.New("port is in use")
	ErrBadAddress   = errors.New("not the address of one host of this network")
	ErrBadPrefix    = errors.New("not an IPv6 prefix of 16 to 64 bits")
)

// A World is one simulated Internet. It is not safe for concurrent use; while
// Run runs, everybody else goes through Do.
type World struct {
	mu      sync.Mutex // held by Do and by Run while it works
	seed    uint64
	start   time.Time
	now     int64 // nanoseconds since start
	queue   eventQueue
	inside  int    // packets in the queue
	packets uint64 // put on lines, copies and fragments not counted
	buffers pool

	internet *network
	names    map[string]bool
	trace    func(Event)
	watchers []func(Transit)
	stats    Stats

	running bool
	base    int64 // world time when Run started
	began   time.Time
	wake    chan struct{} // made by Run: a channel of its own synctest bubble
}

// Stats counts what happened in a World.
type Stats struct {
	Sent, Delivered, Dropped uint64 // packets by hosts; copies made by a line are delivered too
	Busy                     uint64 // dropped because of MaxInFlight
	Forged                   uint64 // made or changed by adversaries
	Corrupted                uint64 // copies in which a line flipped a bit
}

// New returns a world with an empty Internet whose clock stands at start.
// Every die in it is seeded from seed and the name of what throws it, so that
// adding a host does not change the luck of the others.
func New(seed uint64, start time.Time) *World {
	w := &World{seed: seed, start: start, names: make(map[string]bool)}
	w.internet = newNetwork(w, "internet")
	return w
}

// Now returns the world's time.
func (w *World) Now() time.Time { return w.start.Add(time.Duration(w.now)) }

// Seed returns the seed, to be printed by a failing test.
func (w *World) Seed() uint64 { return w.seed }

// Stats returns the counters.
func (w *World) Stats() Stats { return w.stats }

// Next returns the time of the next event; false if nothing is due, ever.
func (w *World) Next() (time.Time, bool) {
	if w.queue.len() == 0 {
		return time.Time{}, false
	}
	return w.start.Add(time.Duration(w.queue.first())), true
}

// Advance lets everything happen that is due up to and at to, in order, and
// sets the clock to to. A time in the past only runs what is overdue. It must
// not be called from a callback of this world.
func (w *World) Advance(to time.Time) { w.advance(int64(to.Sub(w.start))) }

func (w *World) advance(to int64) {
	for w.queue.len() > 0 && w.queue.first() <= to {
		w.step()
	}
	if to > w.now {
		w.now = to
	}
}

// step runs the first event of the queue.
func (w *World) step() {
	e := w.queue.pop()
	if e.at > w.now {
		w.now = e.at
	}
	if e.fn != nil {
		e.fn()
		return
	}
	w.inside--
	if len(e.line.taps) > 0 && !e.past {
		e.line.tapped(e.pkt, e.up)
		return
	}
	e.line.emerge(e.pkt, e.up)
}

// Settle runs events until none is left or the next one lies beyond limit
// from now, and reports whether none is left. The clock stays at the last
// event.
func (w *World) Settle(limit time.Duration) bool {
	until := w.now + int64(limit)
	for w.queue.len() > 0 {
		if w.queue.first() > until {
			return false
		}
		w.step()
	}
	return true
}

// At calls f at t, or at the next Advance if t is past. f may use the world,
// but not Advance it. Functions for the same time run in the order of At.
func (w *World) At(t time.Time, f func()) {
	w.push(event{at: max(int64(t.Sub(w.start)), w.now), fn: f})
}

func (w *World) push(e event) {
	w.queue.push(e)
	if w.wake != nil {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// claim reserves a name: names identify nodes in traces and seed their dice.
func (w *World) claim(name string) error {
	if name == "" || w.names[name] {
		return fmt.Errorf("sim: the name %q is empty or taken", name)
	}
	w.names[name] = true
	return nil
}

// seedFor derives the seed of one die from the world's seed and a name.
func (w *World) seedFor(own uint64, name string) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d/%d/%s", w.seed, own, name)
	return h.Sum64()
}

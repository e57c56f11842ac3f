// Package invariant watches every packet on every line of a simulated network
// for what must never happen, whatever a test is about: a packet put on a line
// twice, a datagram to an address that nobody may be sent to, a node that sends
// more than its share of what it got, a secret in the clear, a time to live
// that does not go down, a wrong checksum.
//
// What adversaries make (sim.Host.SendForged, sim.Tap) is their own affair and
// left out, except that it counts as what a node got, and that a secret must
// not be in it. Left out: what needs more than one packet to see, such as a
// secret cut in two, and packets inside tunnels.
//
//	w := sim.New(1, start)
//	invariant.Install(t, w, invariant.Config{
//		Denied:   []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
//		Factor:   map[string]float64{"server": 2.2},
//		Canaries: [][]byte{secret},
//	})
//
// The worlds of testnet/matrix, testnet/scenario and testnet/lab are observed
// by these packages: a breach is an error of the run.
package invariant

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"shipworm/testnet/sim"
)

// A Rule is one invariant.
type Rule string

// The rules.
const (
	Repeat   Rule = "a packet was put on a line twice"
	Denied   Rule = "a datagram goes to a denied address"
	Factor   Rule = "a node sent more than its share of what it received"
	Canary   Rule = "a secret is on the wire"
	TTL      Rule = "the time to live did not go down"
	Checksum Rule = "a checksum is wrong"
)

// Config says what must hold. Repeat, TTL and Checksum always must.
type Config struct {
	// Denied are the addresses no UDP datagram may be sent to.
	Denied []netip.Prefix
	// Allow excuses a datagram to a denied address, such as one to a neighbour
	// on a private network. Nil excuses none.
	Allow func(sim.Transit) bool
	// Factor is the most that a node may send, in bytes of UDP payload, for
	// each that it received, by the name of the node. It is for nodes that only
	// answer: those that speak first break it.
	Factor map[string]float64
	// Canaries are secrets of at least 8 bytes that must not be seen on a
	// line: as they are, in hex, or in base64.
	Canaries [][]byte
	// Kernels tells that hosts are kernels, whose packets Repeat cannot tell apart
	// by content, see [sim.NoRepeatOfNumber].
	Kernels bool
	// Unfinished tells that the transport checksum of a packet is left to a
	// network card that has yet to come, so that Checksum cannot look at it. Nil
	// means that all packets are whole.
	Unfinished func() bool
	// Except leaves rules out, for a test that breaks one on purpose.
	Except []Rule
}

// TB is the part of testing.TB that Install needs.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Cleanup(func())
}

// maxReports bounds what is kept and printed of the breaches of one rule.
const maxReports = 5

// A Watch is a set of invariants at work. Its methods may be called from any
// goroutine.
type Watch struct {
	mu      sync.Mutex
	packets int
	count   map[Rule]int
	reports []string
}

// Install watches w until the end of the test, which fails if a rule is
// broken. It must be called before the world runs.
func Install(t TB, w *sim.World, c Config) *Watch {
	t.Helper()
	x := Observe(w, c)
	t.Cleanup(func() {
		t.Helper()
		if err := x.Err(); err != nil {
			t.Errorf("seed %d: %v", w.Seed(), err)
		}
	})
	return x
}

// Observe watches w and fails nothing: its caller asks for Err.
func Observe(w *sim.World, c Config) *Watch {
	x := &Watch{count: map[Rule]int{}}
	var watchers []func(sim.Transit)
	add := func(r Rule, f func(report func(sim.Transit)) func(sim.Transit)) {
		for _, e := range c.Except {
			if e == r {
				return
			}
		}
		watchers = append(watchers, f(func(t sim.Transit) { x.report(r, t) }))
	}
	if c.Kernels {
		add(Repeat, sim.NoRepeatOfNumber)
	} else {
		add(Repeat, sim.NoRepeat)
	}
	add(TTL, timeToLive)
	add(Checksum, func(report func(sim.Transit)) func(sim.Transit) { return checksums(c.Unfinished, report) })
	if len(c.Denied) > 0 {
		add(Denied, func(report func(sim.Transit)) func(sim.Transit) { return denied(c.Denied, c.Allow, report) })
	}
	if len(c.Factor) > 0 {
		add(Factor, func(report func(sim.Transit)) func(sim.Transit) { return factor(c.Factor, report) })
	}
	if len(c.Canaries) > 0 {
		add(Canary, func(report func(sim.Transit)) func(sim.Transit) { return canaries(c.Canaries, report) })
	}
	w.Watch(func(t sim.Transit) {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.packets++
		for _, f := range watchers {
			f(t)
		}
	})
	return x
}

// report is called with the lock held.
func (x *Watch) report(r Rule, t sim.Transit) {
	x.count[r]++
	if x.count[r] <= maxReports {
		x.reports = append(x.reports, fmt.Sprintf("%s: %v", r, t))
	}
}

// Packets returns how many packets were looked at: a test in which nothing was
// sent shows nothing.
func (x *Watch) Packets() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.packets
}

// Breaches returns how often a rule was broken.
func (x *Watch) Breaches(r Rule) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.count[r]
}

// Err returns in one line what was broken, with the first packets that did it,
// or nil.
func (x *Watch) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.reports) == 0 {
		return nil
	}
	total := 0
	for _, n := range x.count {
		total += n
	}
	return fmt.Errorf("%d breaches of invariants in %d packets, among them: %s", total, x.packets, strings.Join(x.reports, "; "))
}

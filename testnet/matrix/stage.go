package matrix

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/netip"
	"time"

	"shipworm/testnet/invariant"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
)

// Names of the nodes on a Stage, in the order of a ladder's lanes.
const (
	NodeA      = "A"
	NodeNATA   = "NAT A"
	NodeServer = "server"
	NodeNATB   = "NAT B"
	NodeB      = "B"
)

// One-way delays of the access lines. They differ, so that no result hangs on
// two packets meeting.
const (
	delayA      = 10 * time.Millisecond
	delayB      = 15 * time.Millisecond
	delayServer = 5 * time.Millisecond
)

// A Method is a way to connect two hosts: a [Stepped] or a [Blocking] one. One
// value serves many attempts at the same time.
type Method interface {
	// Name is the word of the command line, Title a noun for people.
	Name() string
	Title() string
	// Describe names a datagram of the method, in a few words.
	Describe(payload []byte) string
}

// Stepped is a method made of machines: it runs in virtual time.
type Stepped interface {
	Method
	// Begin has the hosts of a stage learn their addresses. It runs before
	// the first packet; the stage is the attempt's alone.
	Begin(s *Stage) (Attempt, error)
}

// An Attempt is a method at work on one stage. Its methods are called between
// events of the world, never from two goroutines.
type Attempt interface {
	// State is asked after every event.
	State() State
	// Connect is called once, when State was Ready for the first time: A
	// calls B now.
	Connect()
}

// A State is how far an Attempt got.
type State uint8

// States.
const (
	Preparing State = iota // an end does not know its address yet
	Ready                  // both ends know their address; also while connecting
	Done                   // each end heard the other
	GivenUp                // the method itself knows that it failed
)

// A Stage is where one attempt takes place: host A behind a NAT, host B behind
// another, and a server on the Internet.
type Stage struct {
	World  *sim.World
	A, B   *sim.Host
	Server *sim.Host // with two addresses
	// Seed is this attempt's own, for dice that the world does not throw.
	Seed uint64

	ladder  *recorder
	routers map[*sim.Host]*sim.Router
}

// Router returns the router of host A or B, and the address for it on its LAN,
// where it has none unless the method gives it one.
func (s *Stage) Router(h *sim.Host) (*sim.Router, netip.Addr) {
	gateway := h.Addr().As4()
	gateway[3] = 1
	return s.routers[h], netip.AddrFrom4(gateway)
}

// Forward asks the router of host A or B for a forward to one of the host's UDP
// ports, and returns the outside end; false if it gives none. It is what a
// program gets through UPnP or PCP, without the talk.
func (s *Stage) Forward(h *sim.Host, port uint16) (netip.AddrPort, bool) {
	r := s.routers[h]
	c := r.NAT().Config()
	if !c.Forwarding || len(c.External) == 0 {
		return netip.AddrPort{}, false
	}
	external := netip.AddrPortFrom(c.External[0], port)
	err := r.NAT().AddForward(nat.PortForward{Protocol: 17, External: external, Internal: netip.AddrPortFrom(h.Addr(), port)})
	return external, err == nil
}

// Refused tells that the packet just delivered was of no use to the program
// that got it, for the ladder.
func (s *Stage) Refused(why string) { s.ladder.refused(why) }

// result is what one run came to.
type result struct {
	outcome Outcome
	took    time.Duration
	packets int
	ladder  Ladder
}

// once runs one attempt.
func (c *Config) once(ctx context.Context, from, to string, a, b nat.Config, run int) (result, error) {
	s, err := c.stage(from, to, a, b, run)
	if err != nil {
		return result{}, err
	}
	watch := invariant.Observe(s.World, invariant.Config{})
	var r result
	if m, ok := c.Method.(Blocking); ok {
		r, err = c.block(ctx, m, s, run)
	} else {
		r, err = c.step(s, run)
	}
	if err == nil {
		if err = watch.Err(); err != nil {
			err = fmt.Errorf("matrix: %s to %s, run %d: %w", from, to, run, err)
		}
	}
	return r, err
}

// step runs one attempt of a method without goroutines.
func (c *Config) step(s *Stage, run int) (result, error) {
	try, err := c.Method.(Stepped).Begin(s)
	if err != nil {
		return result{}, err
	}
	w := s.World
	state := advance(w, try, w.Now().Add(readyLimit), func(st State) bool { return st != Preparing })
	if state == Preparing || state == GivenUp {
		return result{outcome: Unready, packets: s.ladder.sent, ladder: s.ladder.ladder(w.Now())}, nil
	}
	began, before := w.Now(), s.ladder.sent
	s.ladder.punch(began)
	try.Connect()
	state = advance(w, try, began.Add(c.Limit), func(st State) bool { return st >= Done })
	r := result{outcome: Failed, packets: s.ladder.sent - before}
	if state == Done {
		r.outcome, r.took = Connected, w.Now().Sub(began)
	}
	r.ladder = s.ladder.ladder(w.Now())
	r.ladder.Outcome = r.outcome
	r.ladder.Run = run
	return r, nil
}

// advance lets the world go on until the attempt's state pleases, or at most
// to end.
func advance(w *sim.World, try Attempt, end time.Time, enough func(State) bool) State {
	for {
		state := try.State()
		if enough(state) {
			return state
		}
		next, some := w.Next()
		if !some || !next.Before(end) {
			w.Advance(end.Add(-1)) // what is due at the end comes too late
			return try.State()
		}
		w.Advance(next)
	}
}

// stage builds the network of one attempt.
func (c *Config) stage(from, to string, a, b nat.Config, run int) (*Stage, error) {
	seed := seedFor(c.Seed, from, to, run)
	w := sim.New(seed, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	s := &Stage{World: w, Seed: seed, ladder: newRecorder(w, c.Method.Describe), routers: map[*sim.Host]*sim.Router{}}
	var err error
	s.Server, err = w.Host(NodeServer, link.Config{Delay: delayServer},
		netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2"))
	if err != nil {
		return nil, err
	}
	if s.A, err = c.site(s, NodeNATA, NodeA, a, 1, delayA); err != nil {
		return nil, err
	}
	s.B, err = c.site(s, NodeNATB, NodeB, b, 2, delayB)
	return s, err
}

// site builds one NAT with its host. A NAT that does not translate has a host
// with a public address.
func (c *Config) site(s *Stage, router, host string, n nat.Config, i byte, delay time.Duration) (*sim.Host, error) {
	inside := netip.AddrFrom4([4]byte{192, 168, i, 2})
	n.External, n.Seed = siteExternal(i), 0
	if n.ArbitraryPooling { // a pool
		n.External = append(n.External, netip.AddrFrom4([4]byte{198, 51, 100, 100 + i}))
	}
	if n.NoTranslation {
		n.External, inside = nil, n.External[0]
	}
	r, err := s.World.Router(router, n, link.Config{Delay: delay, Loss: c.Loss})
	if err != nil {
		return nil, err
	}
	h, err := r.Host(host, link.Config{}, inside)
	s.routers[h] = r
	return h, err
}

// siteExternal is what the i-th site has on the Internet.
func siteExternal(i byte) []netip.Addr {
	return []netip.Addr{netip.AddrFrom4([4]byte{198, 51, 100, i})}
}

// seedFor derives a run's seed from the names of its pair, so that a table of
// a part of the NATs shows the same as one of them all.
func seedFor(seed uint64, from, to string, run int) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d/%q/%q/%d", seed, from, to, run)
	return h.Sum64()
}

package trace_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"shipworm/testnet/invariant"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
	"shipworm/testnet/trace"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// homes is a world of two homes and a server.
type homes struct {
	*sim.World
	alice, bob  *sim.Host
	a, b        *sim.UDPPort
	left, right *sim.Router
}

var (
	serverAt = netip.MustParseAddrPort("198.51.100.1:3544")
	aliceAt  = netip.MustParseAddrPort("203.0.113.1:5000") // outside, as all profiles here preserve ports
	bobAt    = netip.MustParseAddrPort("203.0.113.2:6000")
)

func newHomes(tb testing.TB, seed uint64, except ...invariant.Rule) *homes {
	tb.Helper()
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	h := &homes{World: sim.New(seed, start)}
	if _, test := tb.(*testing.T); test { // a benchmark measures the trace alone
		invariant.Install(tb, h.World, invariant.Config{Except: except})
	}
	server, err := h.Host("server", link.Config{Delay: 20 * time.Millisecond}, serverAt.Addr())
	must(err)
	var s *sim.UDPPort
	s, err = server.BindUDP(serverAt.Port(), func(_ time.Time, from netip.AddrPort, _ []byte) {
		s.SendTo(from, []byte("hello"))
	})
	must(err)
	home := func(who string, at netip.AddrPort) (*sim.Router, *sim.Host, *sim.UDPPort) {
		c, ok := nat.Profile("port-restricted")
		if !ok {
			tb.Fatal("no profile")
		}
		c.External = []netip.Addr{at.Addr()}
		r, err := h.Router("home of "+who, c, link.Config{Delay: 5 * time.Millisecond})
		must(err)
		host, err := r.Host(who, link.Config{}, netip.MustParseAddr("192.168.1.2"))
		must(err)
		p, err := host.BindUDP(at.Port(), ignore)
		must(err)
		return r, host, p
	}
	h.left, h.alice, h.a = home("alice", aliceAt)
	h.right, h.bob, h.b = home("bob", bobAt)
	return h
}

func (h *homes) run(d time.Duration) { h.Advance(h.Now().Add(d)) }

// punch plays the story of every hole punching: bob learns his address from a
// server; alice's packet is dropped by his home, his to her passes, and then
// hers do. The last one is lost.
func (h *homes) punch() {
	h.b.SendTo(serverAt, []byte("who am I?"))
	h.run(time.Second)
	h.a.SendTo(bobAt, []byte("first"))
	h.run(time.Second)
	h.b.SendTo(aliceAt, []byte("second"))
	h.run(time.Second)
	h.a.SendTo(bobAt, []byte("third"))
	h.run(time.Second)
	h.left.SetLink(link.Config{Loss: 1})
	h.a.SendTo(bobAt, []byte("fourth"))
	h.run(time.Second)
}

// record plays the story under a Recorder.
func record(tb testing.TB, seed uint64, c trace.Config) *trace.Recorder {
	tb.Helper()
	h := newHomes(tb, seed)
	r := trace.New(c)
	r.Attach(h.World)
	h.punch()
	return r
}

func decode(b []byte) string { return fmt.Sprintf("%q", b) }

func ignore(time.Time, netip.AddrPort, []byte) {}

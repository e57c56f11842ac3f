package sim_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/invariant"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
)

func addr(s string) netip.Addr         { return netip.MustParseAddr(s) }
func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

var linkZero link.Config

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const ms = time.Millisecond

// lab is a world that fails its test instead of returning errors, and keeps
// its trace. L-05: no test may break an invariant unless it says so.
type lab struct {
	*sim.World
	t      testing.TB
	events []string
}

func newLab(t testing.TB, seed uint64, except ...invariant.Rule) *lab {
	t.Helper()
	n := &lab{World: sim.New(seed, start), t: t}
	n.SetTrace(func(e sim.Event) { n.events = append(n.events, e.String()) })
	invariant.Install(t, n.World, invariant.Config{Except: except})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d, trace:\n%s", seed, strings.Join(n.events, "\n"))
		}
	})
	return n
}

func (n *lab) host(name, a string) *sim.Host {
	n.t.Helper()
	h, err := n.Host(name, link.Config{Delay: 10 * ms}, addr(a))
	if err != nil {
		n.t.Fatal(err)
	}
	return h
}

func config(t testing.TB, profile string, external ...string) nat.Config {
	t.Helper()
	c, ok := nat.Profile(profile)
	if !ok {
		t.Fatalf("no profile %q", profile)
	}
	for _, e := range external {
		c.External = append(c.External, addr(e))
	}
	return c
}

func (n *lab) router(name, profile string, external ...string) *sim.Router {
	n.t.Helper()
	r, err := n.Router(name, config(n.t, profile, external...), link.Config{Delay: 5 * ms})
	if err != nil {
		n.t.Fatal(err)
	}
	return r
}

func (n *lab) behind(r *sim.Router, name, a string) *sim.Host {
	n.t.Helper()
	h, err := r.Host(name, link.Config{}, addr(a))
	if err != nil {
		n.t.Fatal(err)
	}
	return h
}

// inbox is a UDP port that keeps what it gets.
type inbox struct {
	*sim.UDPPort
	t    testing.TB
	got  []string
	from []netip.AddrPort
	at   []time.Time
}

func (n *lab) bind(h *sim.Host, port uint16) *inbox {
	n.t.Helper()
	b := &inbox{t: n.t}
	var err error
	b.UDPPort, err = h.BindUDP(port, func(now time.Time, from netip.AddrPort, p []byte) {
		b.got, b.from, b.at = append(b.got, string(p)), append(b.from, from), append(b.at, now)
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return b
}

func (b *inbox) send(to netip.AddrPort, text string) {
	b.t.Helper()
	if err := b.SendTo(to, []byte(text)); err != nil {
		b.t.Fatal(err)
	}
}

// last returns the source of the last datagram, which must be text.
func (b *inbox) last(text string) netip.AddrPort {
	b.t.Helper()
	if len(b.got) == 0 || b.got[len(b.got)-1] != text {
		b.t.Fatalf("got %q, want %q last", b.got, text)
	}
	return b.from[len(b.from)-1]
}

func (n *lab) run(d time.Duration) { n.Advance(n.Now().Add(d)) }

// dropped fails unless the last event is a drop for this reason.
func (n *lab) dropped(node, why string) {
	n.t.Helper()
	if len(n.events) == 0 {
		n.t.Fatal("nothing happened")
	}
	last := n.events[len(n.events)-1]
	if !strings.Contains(last, " "+node+" ") || !strings.HasSuffix(last, ": "+why) {
		n.t.Errorf("last event %q, want a drop at %s: %s", last, node, why)
	}
}

// whole returns pkt with the DF flag.
func whole(pkt []byte) []byte {
	pkt[6] |= 0x40
	pkt[10], pkt[11] = 0, 0
	c := ^ipv4.Fold(ipv4.Sum(pkt[:20], 0))
	pkt[10], pkt[11] = byte(c>>8), byte(c)
	return pkt
}

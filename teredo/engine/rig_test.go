package engine_test

import (
	"encoding/hex"
	"flag"
	"net/netip"
	"slices"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
)

// long asks for what the promises say; by default a tenth of it must do.
var long = flag.Bool("long", false, "floods and lossy runs in the full numbers that are promised")

// times returns n with -long, else a tenth of it.
func times(n int) int {
	if *long {
		return n
	}
	return n / 10
}

func addr(s string) netip.Addr         { return netip.MustParseAddr(s) }
func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

var (
	serverPort = netip.AddrPortFrom(primary, wire.Port)
	mapping    = addrPort("198.51.100.7:40001")
	native     = addr("2001:db8:1::80")
	relay      = addrPort("192.0.2.99:3545")
)

// peerAt returns the Teredo address of a client of another server.
func peerAt(ap netip.AddrPort) netip.Addr {
	return wire.AddressFrom(addr("192.0.2.77"), 0x1234, ap).Addr()
}

// rig is a client without a network: the test plays everybody else.
type rig struct {
	t   testing.TB
	c   *engine.Client
	now time.Time
	own netip.Addr
	out engine.Output
}

// newRig returns a rig whose client is not started.
func newRig(t testing.TB, change func(*engine.ClientConfig)) *rig {
	t.Helper()
	cfg := engine.ClientConfig{Server: primary, Rand: seeded(7), Policy: engine.Policy{Own: []netip.Addr{addr("192.168.1.2")}}}
	if change != nil {
		change(&cfg)
	}
	c, err := engine.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, c: c, now: start}
}

// qualifiedRig returns a rig whose client has just qualified at mapping.
func qualifiedRig(t testing.TB) *rig {
	t.Helper()
	r := newRig(t, nil)
	rs := r.begin()
	r.now = r.now.Add(10 * time.Millisecond)
	r.receive(serverPort, r.advertise(rs[0], mapping))
	r.own = r.c.Snapshot().Address.Addr()
	if r.c.Snapshot().State != engine.Ready {
		t.Fatalf("not qualified: %v", r.c.Snapshot().Drops)
	}
	return r
}

// advertise makes the server's answer to a solicitation.
func (r *rig) advertise(rs engine.Transmit, mapped netip.AddrPort) []byte {
	r.t.Helper()
	var d wire.Datagram
	if err := wire.Parse(rs.Payload, &d); err != nil || wire.CheckSolicitation(d.IPv6) != nil || !d.HasAuth {
		r.t.Fatalf("%x is no solicitation: %v", rs.Payload, err)
	}
	ra := wire.Advertisement{Src: wire.ServerLinkLocal(primary), Dst: d.IPv6.Source(), Server: primary, MTU: 1280}
	return wire.AppendAdvertisement(wire.AppendOrigin(wire.AppendNonce(nil, d.Auth.Nonce), mapped), &ra)
}

// take returns copies of what the client wants to transmit, and empties out
// except for events and deliveries.
func (r *rig) take() []engine.Transmit {
	sent := slices.Clone(r.out.Transmit)
	for i := range sent {
		sent[i].Payload = slices.Clone(sent[i].Payload)
	}
	r.out.Transmit = r.out.Transmit[:0]
	return sent
}

func (r *rig) begin() []engine.Transmit {
	r.c.Start(r.now, &r.out)
	return r.take()
}

func (r *rig) receive(from netip.AddrPort, payload []byte) []engine.Transmit {
	r.c.Receive(r.now, from, payload, &r.out)
	return r.take()
}

func (r *rig) send(packet []byte) []engine.Transmit {
	r.c.Send(r.now, packet, &r.out)
	return r.take()
}

// pass lets d pass, with every Tick that falls due.
func (r *rig) pass(d time.Duration) []engine.Transmit {
	end := r.now.Add(d)
	var sent []engine.Transmit
	for ticks := 0; ; ticks++ {
		if ticks > 1e6 {
			r.t.Fatalf("a million ticks by %v: Tick does not do what Next plans", r.now)
		}
		next := r.c.Next()
		if next.IsZero() || next.After(end) {
			r.now = end
			return sent
		}
		r.now = later(r.now, next)
		r.c.Tick(r.now, &r.out)
		sent = append(sent, r.take()...)
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// delivered returns and forgets what was delivered.
func (r *rig) delivered() int {
	n := len(r.out.Deliver)
	r.out.Deliver = r.out.Deliver[:0]
	return n
}

func (r *rig) drops(d engine.Drop) uint64 { return r.c.Snapshot().Drops[d] }

// expectDrop runs f, which must cause exactly one drop for the reason d, and
// neither a transmission nor a delivery nor a change of state.
func (r *rig) expectDrop(t *testing.T, d engine.Drop, f func() []engine.Transmit) {
	t.Helper()
	before := r.c.Snapshot()
	sent := f()
	after := r.c.Snapshot()
	want := before.Drops
	want[d]++
	if after.Drops != want {
		t.Errorf("drops %v, want one more for %v", after.Drops, d)
	}
	if len(sent) != 0 || r.delivered() != 0 || after.State != before.State || after.Address != before.Address {
		t.Errorf("sent %v, state %v", sent, after.State)
	}
}

// connect makes peer known and proven, as after a round of bubbles.
func (r *rig) connect(peer netip.Addr, from netip.AddrPort) {
	r.t.Helper()
	r.receive(from, proofOf(r.t, peer, r.own, r.send(udp(r.own, peer, 100)), from))
	if p, _ := r.c.Peer(r.now, peer); !p.Up {
		r.t.Fatalf("%v is not up: %v", peer, r.c.Snapshot().Drops)
	}
}

// proofOf makes the bubble that returns the nonce of the one sent straight to
// to: peer's proof that it is there.
func proofOf(t testing.TB, peer, own netip.Addr, sent []engine.Transmit, to netip.AddrPort) []byte {
	t.Helper()
	for _, s := range sent {
		if s.To == to {
			_, tr := trailers(t, s.Payload)
			return answer(peer, own, tr.Announce.Echo)
		}
	}
	t.Fatalf("no bubble to %v among %v", to, sent)
	return nil
}

// indirect makes what the server passes on of a bubble.
func indirect(src, dst netip.Addr, origin netip.AddrPort) []byte {
	return wire.AppendBubble(wire.AppendOrigin(nil, origin), src, dst, 64)
}

// bubbles returns how many of the datagrams are bubbles.
func bubbles(sent []engine.Transmit) int {
	n := 0
	var d wire.Datagram
	for _, t := range sent {
		if wire.Parse(t.Payload, &d) == nil && d.IPv6.IsBubble() {
			n++
		}
	}
	return n
}

func flagsOf(ip netip.Addr) uint16 {
	a, _ := wire.AddressFromAddr(ip)
	return a.Flags()
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

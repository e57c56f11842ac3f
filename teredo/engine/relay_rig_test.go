package engine_test

import (
	"net/netip"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
)

var (
	relayOwn = addr("192.0.2.99")
	served   = netip.MustParsePrefix("2001:db8:1::/48")
)

// relayRig is a relay without a network: the test plays everybody else.
type relayRig struct {
	t   testing.TB
	r   *engine.Relay
	now time.Time
	out engine.Output
}

func newRelay(t testing.TB, change func(*engine.RelayConfig)) *relayRig {
	t.Helper()
	cfg := engine.RelayConfig{Served: []netip.Prefix{served}, Rand: seeded(9), Policy: engine.Policy{Own: []netip.Addr{relayOwn}}}
	if change != nil {
		change(&cfg)
	}
	r, err := engine.NewRelay(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &relayRig{t: t, r: r, now: start}
}

func (r *relayRig) take() []engine.Transmit {
	sent := (&rig{out: r.out}).take()
	r.out.Transmit = r.out.Transmit[:0]
	return sent
}

func (r *relayRig) send(packet []byte) []engine.Transmit {
	r.r.Send(r.now, packet, &r.out)
	return r.take()
}

func (r *relayRig) receive(from netip.AddrPort, payload []byte) []engine.Transmit {
	r.r.Receive(r.now, from, payload, &r.out)
	return r.take()
}

// delivered returns and forgets what was delivered.
func (r *relayRig) delivered() int {
	n := len(r.out.Deliver)
	r.out.Deliver = r.out.Deliver[:0]
	return n
}

// pass lets d pass, with every Tick that falls due.
func (r *relayRig) pass(d time.Duration) []engine.Transmit {
	end := r.now.Add(d)
	var sent []engine.Transmit
	for {
		next := r.r.Next()
		if next.IsZero() || next.After(end) {
			r.now = end
			return sent
		}
		r.now = later(r.now, next)
		r.r.Tick(r.now, &r.out)
		sent = append(sent, r.take()...)
	}
}

func (r *relayRig) drops(d engine.Drop) uint64 { return r.r.Snapshot().Drops[d] }

// expectDrop runs f, which must cause one drop for the reason d and nothing
// else.
func (r *relayRig) expectDrop(t *testing.T, d engine.Drop, f func() []engine.Transmit) {
	t.Helper()
	want := r.r.Snapshot().Drops
	want[d]++
	sent := f()
	if got := r.r.Snapshot().Drops; got != want {
		t.Errorf("drops %v, want one more for %v", got, d)
	}
	if len(sent) != 0 || r.delivered() != 0 {
		t.Errorf("sent %v", sent)
	}
}

// answer makes a client's answer to a bubble of the relay.
func (r *relayRig) answer(bubble []byte) []byte {
	r.t.Helper()
	var d wire.Datagram
	if err := wire.Parse(bubble, &d); err != nil || !d.IPv6.IsBubble() || !d.IPv6.Source().IsLinkLocalUnicast() {
		r.t.Fatalf("%x is no bubble of a relay: %v", bubble, err)
	}
	return wire.AppendBubble(nil, d.IPv6.Destination(), d.IPv6.Source(), 0)
}

// connect has the relay and the client at ap know each other, as after a packet
// of the native node.
func (r *relayRig) connect(client netip.Addr, ap netip.AddrPort) {
	r.t.Helper()
	bubbles := r.send(udp(native, client, 100))
	if len(bubbles) == 0 {
		r.t.Fatalf("no bubble: %v", r.r.Snapshot().Drops)
	}
	sent := r.receive(ap, r.answer(bubbles[0].Payload))
	if len(sent) != 1 || sent[0].To != ap || len(sent[0].Payload) != 100 {
		r.t.Fatalf("sent %v: %v", sent, r.r.Snapshot().Drops)
	}
}

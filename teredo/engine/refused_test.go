package engine_test

import (
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
	"shipworm/testnet/link"
)

// A NAT that shows the service port as one that no peer sends to makes it
// useless: the driver is told to take another, but not by every server that
// says so again and again. T-11
func TestPortRefused(t *testing.T) {
	r := newRig(t, nil)
	sent := r.begin()
	for range 20 {
		for _, rs := range sent {
			r.receive(serverPort, r.advertise(rs, addrPort("198.51.100.7:5353")))
		}
		sent = r.pass(500 * time.Millisecond)
	}
	if s := r.c.Snapshot(); s.Address.IsValid() || s.Drops[engine.DropRAOrigin] < 5 {
		t.Errorf("%v at %v, %d refused", s.State, s.Address, s.Drops[engine.DropRAOrigin])
	}
	told := 0
	for _, e := range r.out.Events {
		if e.Kind == engine.PortRefused {
			told++
		}
	}
	if told != 2 {
		t.Errorf("told %d times, want twice", told)
	}
}

// What the secondary address of the server saw is only compared with the
// mapping, so any port will do.
func TestComparedPort(t *testing.T) {
	r := newRig(t, withSecondary)
	sent := r.receive(serverPort, r.advertise(r.begin()[0], mapping))
	if len(sent) != 1 || sent[0].To.Addr() != secondary {
		t.Fatalf("sent %v, want a solicitation to the secondary", sent)
	}
	r.receive(secondaryPort, r.advertise(sent[0], addrPort("198.51.100.7:5353")))
	if s := r.c.Snapshot(); s.NAT != wire.NATRandom || s.Mapped != mapping {
		t.Errorf("%v NAT at %v", s.NAT, s.Mapped)
	}
}

// A NAT that draws lots may look sequential for two ports. The echo test finds
// out, and the peers meet as they would have.
func TestNotSequentialAfterAll(t *testing.T) {
	const seed = 906
	l := newLab(t, seed, link.Config{Delay: 20 * time.Millisecond})
	na, nb := l.kindNode("port-restricted"), l.kindNode("symmetric-pooled")
	l.qualify(na, nb)
	l.run(500 * time.Millisecond)
	if nat := nb.state().NAT; nat != wire.NATSequential {
		t.Fatalf("seed %d shows a %v NAT: find another seed", seed, nat)
	}
	if _, ok := l.call(7*time.Second, na, nb); !ok || nb.state().NAT != wire.NATRandom {
		t.Errorf("connected %v, NAT %v", ok, nb.state().NAT)
	}
}

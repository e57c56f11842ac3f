package engine_test

import (
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

// flow is two clients that send each other ten packets a second, each to the
// other's address of the moment, as programs do that tell each other when they
// move.
type flow struct {
	l    *lab
	a, b *node
}

// newFlow returns a flow that has run for 5 s.
func newFlow(t *testing.T, seed uint64) *flow {
	t.Helper()
	l := newLab(t, seed, plain)
	// A port that was in use is not given out again at once: whatever is lost
	// comes back as another mapping.
	strict := nat.Config{Filtering: nat.AddressAndPortDependent, Allocation: nat.Random, Quarantine: time.Hour}
	f := &flow{l: l, a: l.behind(strict, func(c *engine.ClientConfig) { c.Secondary = secondary }), b: l.node("port-restricted", nil)}
	l.qualify(f.a, f.b)
	f.run(5 * time.Second)
	if !f.a.up(f.b) || !f.b.up(f.a) {
		t.Fatalf("not connected: %v", drops(f.a, f.b))
	}
	return f
}

// run lets the flow run for d.
func (f *flow) run(d time.Duration) {
	for range d / (100 * time.Millisecond) {
		a, b := f.a.addr(), f.b.addr()
		if a.IsValid() && b.IsValid() {
			f.a.send(b, 100)
			f.b.send(a, 100)
		}
		f.l.run(100 * time.Millisecond)
	}
}

// cut has b's line lose a share of the packets.
func (f *flow) cut(share float64) {
	if err := f.b.router.SetLink(link.Config{Delay: plain.Delay, Loss: share}); err != nil {
		f.l.t.Fatal(err)
	}
}

// silence runs the flow for d, and returns the longest time that either end
// heard nothing in, from now on.
func (f *flow) silence(d time.Duration) (longest time.Duration) {
	begin := f.l.w.Now()
	f.a.got, f.b.got = nil, nil
	f.run(d)
	for _, n := range []*node{f.a, f.b} {
		last := begin
		for _, g := range append(n.got, got{at: f.l.w.Now()}) {
			longest = max(longest, g.at.Sub(last))
			last = g.at
		}
	}
	return longest
}

// Whatever happens to the network, a flow goes on within the time promised, and
// at once where the two ends are not concerned. Ten seeds each.
func TestSurvival(t *testing.T) {
	for _, test := range []struct {
		name  string
		most  time.Duration // of silence at either end
		moves bool          // a has another address afterwards
		event func(f *flow) time.Duration
	}{
		// TR-02: 2 s of silence, a solicitation, its answer, new bubbles.
		{"NAT reboot", 5 * time.Second, true, func(f *flow) time.Duration {
			f.a.router.NAT().Reset()
			return f.silence(time.Minute)
		}},
		{"another external address", 5 * time.Second, true, func(f *flow) time.Duration {
			f.a.renumber()
			return f.silence(time.Minute)
		}},
		// TR-03: the driver tells.
		{"another network", 2 * time.Second, true, func(f *flow) time.Duration {
			f.a.renumber()
			f.a.linkChanged()
			return f.silence(time.Minute)
		}},
		// TR-05, TR-11: the server is no part of the flow.
		{"server away for 12 s", time.Second, false, func(f *flow) time.Duration {
			f.l.down = true
			s := f.silence(12 * time.Second)
			f.l.down = false
			return max(s, f.silence(2*time.Minute))
		}},
		{"server away for 3 minutes", time.Second, false, func(f *flow) time.Duration {
			f.l.down = true
			s := f.silence(3 * time.Minute)
			f.l.down = false
			return max(s, f.silence(6*time.Minute))
		}},
		{"server restarted", time.Second, false, func(f *flow) time.Duration {
			f.l.restart()
			return f.silence(2 * time.Minute)
		}},
		// Miredo is silent for about 295 s after this.
		{"peer away for 15 s", 18 * time.Second, false, func(f *flow) time.Duration {
			f.cut(1)
			s := f.silence(15 * time.Second)
			f.cut(0)
			return max(s, 15*time.Second+f.silence(time.Minute))
		}},
		// TR-04: 10 s after the driver noticed; the NAT may have forgotten.
		{"suspend for 10 minutes", 10 * time.Second, true, func(f *flow) time.Duration {
			f.a.router.NAT().Reset()
			f.a.suspend(10 * time.Minute)
			return f.silence(time.Minute)
		}},
		{"30 % lost", 3 * time.Second, false, func(f *flow) time.Duration {
			f.l.lossy(crossing(0.3))
			return f.silence(2 * time.Minute)
		}},
		// TR-08
		{"30 % twice and 30 % out of order", time.Second, false, func(f *flow) time.Duration {
			f.l.lossy(link.Config{Delay: plain.Delay, Duplicate: 0.3, Reorder: 0.3, Hold: 50 * time.Millisecond})
			return f.silence(2 * time.Minute)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			worst := time.Duration(0)
			moved := false
			for seed := range uint64(times(100)) {
				f := newFlow(t, seed+1)
				before := f.a.addr()
				took := test.event(f)
				moved = moved || f.a.addr() != before
				worst = max(worst, took)
				if took > test.most {
					t.Errorf("seed %d: silent for %v, promised %v; %v", seed+1, took, test.most, drops(f.a, f.b))
				}
				if lost := f.a.count(engine.AddressLost) + f.b.count(engine.AddressLost); lost != 0 && !test.moves {
					t.Errorf("seed %d: %d addresses lost", seed+1, lost)
				}
			}
			if moved != test.moves {
				t.Errorf("another address %v, want %v", moved, test.moves)
			}
			t.Logf("silent for %v at most, promised %v", worst, test.most)
		})
	}
}

// TR-05, TR-10: after 24 hours without a packet, at 10 % loss, the address is
// what it was, and the peer is reached within 7 s.
func TestSurvivesIdleDay(t *testing.T) {
	for seed := range uint64(times(30)) {
		f := newFlow(t, seed+1)
		a, b := f.a.addr(), f.b.addr()
		f.l.lossy(crossing(0.1))
		f.l.run(24 * time.Hour)
		if f.a.addr() != a || f.b.addr() != b {
			t.Errorf("seed %d: %v and %v became %v and %v", seed+1, a, b, f.a.addr(), f.b.addr())
		}
		if took, ok := f.l.call(7*time.Second, f.a, f.b); !ok {
			t.Errorf("seed %d: not reached after %v; %v", seed+1, took, drops(f.a, f.b))
		}
	}
}

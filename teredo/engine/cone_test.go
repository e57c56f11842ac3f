package engine_test

import (
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
)

func coneTested(c *engine.ClientConfig) { c.Secondary, c.ConeTest = secondary, true }

// RFC 4380, 5.2.1: the solicitation with the cone bit is answered from the
// server's other address, which only a cone NAT lets in. A symmetric NAT is
// told by its mappings, whatever its filter.
func TestConeTest(t *testing.T) {
	for _, test := range []struct {
		profile string
		want    engine.Filtering
	}{
		{"public", engine.FilteringNone},
		{"cone", engine.FilteringNone},
		{"address-restricted", engine.FilteringRestricted},
		{"port-restricted", engine.FilteringRestricted},
		{"symmetric", engine.FilteringRestricted},
	} {
		t.Run(test.profile, func(t *testing.T) {
			l := newLab(t, 1, plain)
			var n *node
			if test.profile == "public" {
				n = l.bare(1, coneTested)
			} else {
				n = l.node(test.profile, coneTested)
			}
			l.qualify(n)
			if s := n.state(); s.QualifiedAfter > 50*time.Millisecond {
				t.Errorf("qualified only after %v", s.QualifiedAfter)
			}
			l.run(16 * time.Second)
			s := n.state()
			if s.Filtering != test.want {
				t.Errorf("filtering %v, want %v; %v", s.Filtering, test.want, s.Drops)
			}
			if s.Address.Flags()&^wire.FlagsRandom != 0 {
				t.Errorf("address %v with flags %04x", s.Address, s.Address.Flags())
			}
			if len(n.extra) != 0 {
				t.Errorf("%d ports left open", len(n.extra))
			}
		})
	}
}

// The cone test says nothing where there is nothing to say: unless it is asked
// for, without a second address, and with one that is silent.
func TestConeTestUnknown(t *testing.T) {
	for name, change := range map[string]func(*engine.ClientConfig){
		"not asked for":     func(c *engine.ClientConfig) { c.Secondary = secondary },
		"no second address": func(c *engine.ClientConfig) { c.ConeTest = true },
		"silent":            coneTested,
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 1, plain)
			l.mute = name == "silent"
			n := l.node("cone", change)
			l.qualify(n)
			l.run(20 * time.Second)
			if s := n.state(); s.Filtering != engine.FilteringUnknown {
				t.Errorf("filtering %v", s.Filtering)
			}
		})
	}
}

// RFC 5991, 3.2: the cone test decides nothing. With it the service port sends
// what it sends without it, at the same times to the same places.
func TestConeTestDecidesNothing(t *testing.T) {
	type sent struct {
		at   time.Duration
		to   string
		size int
	}
	run := func(cone bool) (list []sent) {
		l := newLab(t, 1, plain)
		a := l.node("cone", func(c *engine.ClientConfig) { c.Secondary, c.ConeTest = secondary, cone })
		b := l.node("port-restricted", nil)
		a.sent = func(x engine.Transmit) {
			if x.Port == 0 {
				list = append(list, sent{l.w.Now().Sub(start), x.To.String(), len(x.Payload)})
			}
		}
		l.qualify(a, b)
		l.run(5 * time.Second) // its result is known
		if known := a.state().Filtering == engine.FilteringNone; known != cone {
			t.Fatalf("filtering %v", a.state().Filtering)
		}
		a.send(b.addr(), 100)
		l.run(3 * time.Second)
		b.send(a.addr(), 100)
		l.run(3 * time.Second)
		return list
	}
	without, with := run(false), run(true)
	if len(without) < 4 || len(without) != len(with) {
		t.Fatalf("%d datagrams without the test, %d with it", len(without), len(with))
	}
	for i := range with {
		if with[i] != without[i] {
			t.Errorf("datagram %d: %v, without the test %v", i, with[i], without[i])
		}
	}
}

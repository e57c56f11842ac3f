package engine_test

import (
	"fmt"
	"testing"
	"time"

	"shipworm/testnet/link"
)

var permissive = []string{"public", "cone", "address-restricted", "port-restricted"}

// Two clients behind every pairing of NATs that RFC 4380 supports connect: the
// first packet arrives as soon as the bubbles' round trip allows.
func TestConnectPairs(t *testing.T) {
	for _, a := range permissive {
		for _, b := range permissive {
			t.Run(a+" to "+b, func(t *testing.T) {
				l := newLab(t, 1, link.Config{Delay: 20 * time.Millisecond})
				na, nb := l.node(a, nil), l.node(b, nil)
				l.qualify(na, nb)
				begin := l.w.Now()
				for i := range 3 {
					na.send(nb.addr(), 100+i)
				}
				if !l.until(time.Second, func() bool { return len(nb.got) == 3 }) {
					t.Fatalf("%d packets of 3 arrived; %v", len(nb.got), drops(na, nb))
				}
				for i, g := range nb.got {
					if len(g.packet) != 100+i {
						t.Errorf("packet %d has %d bytes: out of order", i, len(g.packet))
					}
				}
				// Indirect bubble over two lines and two more, direct answer, data.
				if took := nb.got[0].at.Sub(begin); took > 160*time.Millisecond {
					t.Errorf("first packet took %v", took)
				}
				nb.send(na.addr(), 200)
				if !l.until(40*time.Millisecond, func() bool { return len(na.got) == 1 }) {
					t.Errorf("no answer: %v", drops(na, nb))
				}
			})
		}
	}
}

func drops(nodes ...*node) string {
	var s string
	for _, n := range nodes {
		b, _ := n.state().Drops.MarshalJSON()
		s += fmt.Sprintf("%s %s ", n.name, b)
	}
	return s
}

// connectRuns counts how many of many runs connect within 7 s.
func connectRuns(t *testing.T, loss float64, n int, both bool) (ok int) {
	for seed := range uint64(n) {
		l := newLab(t, seed+1, link.Config{Delay: 20 * time.Millisecond})
		na, nb := l.node("port-restricted", nil), l.node("port-restricted", nil)
		l.qualify(na, nb)
		l.lossy(crossing(loss))
		ends := []*node{na, nb}
		if !both {
			ends = ends[:1]
		}
		for _, e := range ends {
			peer := na
			if e == na {
				peer = nb
			}
			e.send(peer.addr(), 100)
		}
		if l.until(7*time.Second, func() bool { return na.up(nb) && nb.up(na) }) {
			ok++
		}
	}
	return ok
}

// TR-07: both ends punch; within 7 s nearly all pairs are connected, in both
// directions. The loss is that of one crossing of the Internet; an indirect
// bubble crosses twice. Where only one end starts, all four of its indirect
// bubbles may be lost before the other end hears of it (0.19^4 at 10 %), and
// more than four are not allowed.
func TestConnectLoss(t *testing.T) {
	for _, test := range []struct {
		loss float64
		both bool
		n    int
		want float64
	}{
		{0.10, true, 10000, 0.9999},
		{0.30, true, 2000, 0.96},
		{0.10, false, 2000, 0.998},
		{0.30, false, 2000, 0.88},
	} {
		n := times(test.n)
		ok := connectRuns(t, test.loss, n, test.both)
		t.Logf("loss %.0f %%, both ends start %v: %d of %d within 7 s", test.loss*100, test.both, ok, n)
		if float64(ok) < test.want*float64(n) {
			t.Errorf("loss %.0f %%, both ends start %v: %d of %d", test.loss*100, test.both, ok, n)
		}
	}
}

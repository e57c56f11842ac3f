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

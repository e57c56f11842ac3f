package engine_test

import (
	"testing"
	"time"

	"shipworm/testnet/link"
)

// Two ports may hit at about the same time, and each end settle for another one
// of them. They find that out within seconds, whoever has data to send.
func TestTwoHits(t *testing.T) {
	for _, callers := range []int{0, 1} {
		for seed := range uint64(times(600)) {
			l := newLab(t, seed+1, link.Config{Delay: 5 * time.Millisecond, Jitter: 2 * time.Millisecond})
			ends := []*node{l.kindNode("port-restricted"), l.kindNode("symmetric")}
			l.qualify(ends...)
			l.run(500 * time.Millisecond)
			from, to := ends[callers], ends[1-callers]
			var again func()
			again = func() {
				from.send(to.addr(), 100)
				l.w.At(l.w.Now().Add(time.Second), again)
			}
			again()
			l.run(7 * time.Second)
			n := len(to.got)
			l.run(3 * time.Second)
			if len(to.got)-n < 3 {
				t.Errorf("seed %d, %s: %d packets arrived, %d late", seed+1, from.name, len(to.got), len(to.got)-n)
			}
		}
	}
}

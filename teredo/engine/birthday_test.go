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

// A router that answers what nobody there asked for, and whose connection
// tracking then moves the mapping that is about to be opened, sees none of the
// packets that open ports for it. It does see one of the service port, which
// others need: a probe that by chance meets the mapping of that, as one of 250
// attempts does, moves all that follow.
func TestBirthdayTalkativeRouter(t *testing.T) {
	for _, pair := range [][2]string{{"linux-open-input", "symmetric"}, {"symmetric", "linux-open-input"}} {
		n, failed := times(1000), 0
		for seed := range uint64(n) {
			d := &disposable{TB: t}
			r := tryPair(d, pair[0], pair[1], seed+1)
			d.end()
			if !r.ok {
				failed++
			}
		}
		t.Logf("%s to %s: %d of %d not connected", pair[0], pair[1], failed, n)
		if failed*100 > n {
			t.Error("more than 1 of 100")
		}
	}
}

// Where the NAT that gives the ports is behind another router, or more than one,
// the packets that open them come no farther than those: the second ones do.
func TestBirthdayFarNAT(t *testing.T) {
	l := newLab(t, 1, link.Config{Delay: 20 * time.Millisecond})
	na, nb := l.kindNode("port-restricted"), l.kindNode("symmetric")
	nb.far = true
	l.qualify(na, nb)
	l.run(time.Second)
	if took, ok := l.call(7*time.Second, na, nb); !ok || took < 2*time.Second {
		t.Errorf("connected %v after %v", ok, took)
	}
}

package engine_test

import (
	"testing"
	"time"

	"shipworm/testnet/link"
)

// Miredo pauses for 100 s after 12 s without an answer. The last question
// of our first series goes out after 11.5 s, and the first pause is 15 s with a
// fifth of jitter: there is an address 34 s after the start at the latest.
func TestServerLateAtStart(t *testing.T) {
	for _, late := range []time.Duration{2, 12, 13, 15} {
		l := newLab(t, 1, link.Config{Delay: 20 * time.Millisecond})
		l.down = true
		n := l.node("port-restricted", nil).start()
		l.run(late * time.Second)
		l.down = false
		if !l.until((34-late)*time.Second, n.qualified) {
			t.Errorf("server %d s late: no address 34 s after the start", late)
		}
	}
}

// Miredo is silent for some 295 s after a peer was away for 15 s while packets
// went to it. Ours goes on within 5 s after 15 s and after 30 s; for longer
// absences see TestAwayUnderTraffic.
func TestPeerAway(t *testing.T) {
	for _, away := range []time.Duration{15, 30} {
		l := newLab(t, 1, link.Config{Delay: 20 * time.Millisecond})
		na, nb := l.node("port-restricted", nil), l.node("port-restricted", nil)
		l.qualify(na, nb)
		if _, ok := l.call(7*time.Second, na, nb); !ok {
			t.Fatal("not connected")
		}
		na.deaf, nb.deaf = true, true
		l.run(away * time.Second)
		na.deaf, nb.deaf = false, false
		before := len(nb.got)
		if !l.until(5*time.Second, func() bool { return len(nb.got) > before }) {
			t.Errorf("away for %d s: nothing after 5 s; %s", away, drops(na, nb))
		}
	}
}

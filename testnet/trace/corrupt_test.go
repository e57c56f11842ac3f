package trace_test

import (
	"strings"
	"testing"
	"time"

	"shipworm/testnet/link"
	"shipworm/testnet/sim"
	"shipworm/testnet/trace"
)

// A journey goes on through a line that flips a bit, whichever it is, and the
// packet's comment says where it happened.
func TestCorrupted(t *testing.T) {
	h := newHomes(t, 1)
	h.alice.SetLink(link.Config{Delay: time.Millisecond, Corrupt: 1})
	r := trace.New(trace.Config{})
	r.Attach(h.World)
	const n = 100
	for range n {
		h.a.SendTo(serverAt, []byte("hello, you over there"))
		h.run(time.Second)
	}
	flips, other := map[uint64]int{}, 0
	for _, e := range r.Events() {
		switch {
		case e.Kind == sim.Corrupted:
			flips[e.Journey]++
			if e.From != "alice" || e.Before == nil {
				t.Fatalf("corrupted from %q, before %x", e.From, e.Before)
			}
		case flips[e.Journey] == 0 && e.Kind != sim.Sent:
			other++
		}
	}
	if len(flips) != n || other > 0 {
		t.Errorf("%d journeys were corrupted, %d events are of others; want %d, 0", len(flips), other, n)
	}
	const want = "alice sent; alice/up corrupted: a bit flipped on the line"
	commented := 0
	for _, p := range r.Packets() {
		if p.Line == "alice" && p.Comment() == want {
			commented++
		}
	}
	if commented != n {
		t.Errorf("%d comments, want %d", commented, n)
	}
	var b strings.Builder
	if err := r.Trace(trace.Filter{}).WriteMermaid(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "corrupted: a bit flipped on the line") {
		t.Errorf("not on the ladder:\n%.2000s", b.String())
	}
}

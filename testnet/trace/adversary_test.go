package trace_test

import (
	"strings"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/invariant"
	"shipworm/testnet/link"
	"shipworm/testnet/sim"
	"shipworm/testnet/trace"
)

// Fragments belong to the journey of the packet that was cut, and so does what
// the receiver puts together.
func TestFragments(t *testing.T) {
	w := sim.New(1, start)
	invariant.Install(t, w, invariant.Config{})
	a, err := w.Host("a", link.Config{MTU: 100}, aliceAt.Addr())
	if err != nil {
		t.Fatal(err)
	}
	b, err := w.Host("b", link.Config{}, bobAt.Addr())
	if err != nil {
		t.Fatal(err)
	}
	from, _ := a.BindUDP(1, ignore)
	b.BindUDP(bobAt.Port(), ignore)
	r := trace.New(trace.Config{})
	r.Attach(w)
	from.SendTo(bobAt, make([]byte, 150))
	w.Settle(time.Hour)
	if s := story(r, 1); s != "a sent, a/up fragmented, b delivered" {
		t.Error(s)
	}
	packets := r.Packets()
	if len(packets) != 4 {
		t.Errorf("%d packets on lines", len(packets))
	}
	for _, p := range packets {
		if p.Journey != 1 || p.After.Node != "a" {
			t.Errorf("%s: journey %d, %s", p.Line, p.Journey, p.Comment())
		}
	}
}

// What a man in the middle changes, swallows and makes up can be told from what
// the hosts sent.
func TestTap(t *testing.T) {
	h := newHomes(t, 1)
	n := 0
	tap := h.alice.Tap("mallory", func(p *sim.Passage) {
		switch n++; n {
		case 1:
			p.Packet[8]-- // the time to live
			p.Packet[10], p.Packet[11] = 0, 0
			sum := ^ipv4.Fold(ipv4.Sum(p.Packet[:20], 0))
			p.Packet[10], p.Packet[11] = byte(sum>>8), byte(sum)
		case 2:
			p.Drop = true
		}
	})
	r := trace.New(trace.Config{})
	r.Attach(h.World)
	h.a.SendTo(serverAt, []byte("changed"))
	h.run(time.Millisecond)
	h.a.SendTo(serverAt, []byte("swallowed"))
	h.run(time.Millisecond)
	tap.Inject(ipv4.AppendUDP(nil, 1, aliceAt, serverAt, []byte("made up")), true)
	h.bob.SendForged(ipv4.AppendUDP(nil, 1, aliceAt, serverAt, []byte("spoofed")))
	h.run(time.Millisecond)
	for j, want := range map[uint64]string{
		1: "alice sent, alice/up forged, home of alice forwarded",
		2: "alice sent, alice/up dropped",
		3: "alice/up forged, home of alice forwarded",
		4: "bob forged, home of bob forwarded",
	} {
		if s := story(r, j); s != want {
			t.Errorf("journey %d: %s, want %s", j, s, want)
		}
	}
	comments := map[string]bool{}
	for _, p := range r.Packets() {
		comments[p.Comment()] = true
	}
	for _, want := range []string{
		"alice sent; alice/up forged: mallory",
		"alice/up forged: mallory; home of alice forwarded: mapping created",
		"alice sent; alice/up dropped: swallowed by mallory",
	} {
		if !comments[want] {
			t.Errorf("no comment %q in %v", want, comments)
		}
	}
	var b strings.Builder
	if err := r.WriteMermaid(&b, trace.Filter{}); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); !strings.Contains(s, "forged: mallory") || !strings.Contains(s, "swallowed by mallory (alice/up)") {
		t.Error(s)
	}
}

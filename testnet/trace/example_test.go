package trace_test

import (
	"fmt"
	"net/netip"
	"os"
	"time"

	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
	"shipworm/testnet/trace"
)

// exampleWorld is a home whose router a stranger's packet does not pass.
func exampleWorld() (w *sim.World, alice, stranger *sim.UDPPort) {
	w = sim.New(1, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	cfg, _ := nat.Profile("port-restricted")
	cfg.External = []netip.Addr{netip.MustParseAddr("203.0.113.1")}
	home, _ := w.Router("home", cfg, link.Config{Delay: 5 * time.Millisecond})
	a, _ := home.Host("alice", link.Config{}, netip.MustParseAddr("192.168.1.2"))
	s, _ := w.Host("stranger", link.Config{Delay: 20 * time.Millisecond}, netip.MustParseAddr("198.51.100.1"))
	ignore := func(time.Time, netip.AddrPort, []byte) {}
	alice, _ = a.BindUDP(5000, ignore)
	stranger, _ = s.BindUDP(7, ignore)
	return w, alice, stranger
}

// A stranger cannot get in before alice has sent to him, and the trace says
// why.
func Example() {
	w, alice, stranger := exampleWorld()
	rec := trace.New(trace.Config{})
	rec.Attach(w)

	outside := netip.MustParseAddrPort("203.0.113.1:5000")
	stranger.SendTo(outside, []byte("let me in"))
	w.Advance(w.Now().Add(time.Second))
	alice.SendTo(netip.MustParseAddrPort("198.51.100.1:7"), []byte("hello"))
	w.Advance(w.Now().Add(time.Second))
	stranger.SendTo(outside, []byte("hello"))
	w.Advance(w.Now().Add(time.Second))

	for _, p := range rec.Packets() {
		fmt.Println(p.Journey, p.Comment())
	}
	// Output:
	// 1 stranger sent; passed on to home
	// 1 stranger sent; home dropped: no mapping for the destination
	// 2 alice sent; home forwarded: mapping created
	// 2 home forwarded: mapping created; passed on to stranger
	// 2 home forwarded: mapping created; stranger delivered
	// 3 stranger sent; passed on to home
	// 3 stranger sent; home forwarded: mapping exists and the filter permits the sender
	// 3 home forwarded: mapping exists and the filter permits the sender; alice delivered
}

// The ladder of the packets that were dropped, with a decoder for their
// payloads.
func ExampleRecorder_WriteMermaid() {
	w, _, stranger := exampleWorld()
	rec := trace.New(trace.Config{
		Decode: func(payload []byte) string { return "a knock" },
	})
	rec.Attach(w)
	stranger.SendTo(netip.MustParseAddrPort("203.0.113.1:5000"), []byte("let me in"))
	w.Advance(w.Now().Add(time.Second))

	rec.WriteMermaid(os.Stdout, trace.Filter{Dropped: true, Limit: 50})
	// Output:
	// sequenceDiagram
	//     participant n1 as stranger
	//     participant n2 as home
	//     n1-xn2: [1] 0.025000 UDP 198.51.100.1:7 → 203.0.113.1:5000, 9 B: a knock
	//     Note over n2: dropped: no mapping for the destination
}

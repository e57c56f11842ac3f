package trace_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv6"
	"shipworm/testnet/invariant"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
	"shipworm/testnet/trace"
)

// IPv6 has no identification: packets that are byte for byte the same are
// followed apart all the same, and every format knows them.
func TestIPv6(t *testing.T) {
	w := sim.New(1, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	invariant.Install(t, w, invariant.Config{})
	rec := trace.New(trace.Config{Decode: func(b []byte) string { return "says " + string(b) }})
	rec.Attach(w)
	server, err := w.Host("server", link.Config{Delay: 10 * time.Millisecond}, netip.MustParseAddr("2001:db8::1"))
	if err != nil {
		t.Fatal(err)
	}
	cfg, _ := nat.Profile("cone")
	cfg.External = []netip.Addr{netip.MustParseAddr("203.0.113.1")}
	home, err := w.Router("home", cfg, link.Config{Delay: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := home.Delegate(netip.MustParsePrefix("2001:db8:a::/64")); err != nil {
		t.Fatal(err)
	}
	alice, err := home.Host("alice", link.Config{}, netip.MustParseAddr("2001:db8:a::2"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.BindUDP(7, func(time.Time, netip.AddrPort, []byte) {}); err != nil {
		t.Fatal(err)
	}
	pkt := ipv6.AppendUDP(nil, netip.MustParseAddrPort("[2001:db8:a::2]:1"), netip.MustParseAddrPort("[2001:db8::1]:7"), []byte("hello"))
	for range 3 {
		alice.Send(pkt)
		w.Advance(w.Now().Add(time.Millisecond)) // all of them are on the way at once
	}
	w.Advance(w.Now().Add(time.Second))
	journeys := map[uint64][]string{}
	for _, p := range rec.Packets() {
		journeys[p.Journey] = append(journeys[p.Journey], p.Line)
	}
	for j := uint64(1); j <= 3; j++ {
		if got := strings.Join(journeys[j], " "); got != "alice home server" {
			t.Errorf("journey %d: %q, want alice home server", j, got)
		}
	}
	var text, pcap bytes.Buffer
	if err := rec.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if want := "UDP [2001:db8:a::2]:1 > [2001:db8::1]:7, 5 B: says hello"; strings.Count(text.String(), want) != 9 || !strings.Contains(text.String(), "routed") {
		t.Errorf("want %q for three events each in\n%s", want, text.String())
	}
	if err := rec.WritePcapng(&pcap); err != nil || bytes.Count(pcap.Bytes(), []byte("hello")) != 9 {
		t.Errorf("pcapng: %v, %d packets, want 9", err, bytes.Count(pcap.Bytes(), []byte("hello")))
	}
}

package nat_test

import (
	"fmt"
	"net/netip"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/nat"
)

// A port-restricted NAT lets the server answer, and nobody else.
func Example() {
	cfg, _ := nat.Profile("port-restricted")
	cfg.External = []netip.Addr{netip.MustParseAddr("203.0.113.7")}
	n, err := nat.New(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	client := netip.MustParseAddrPort("192.168.1.2:5000")
	server := netip.MustParseAddrPort("198.51.100.1:3544")
	mapped := netip.MustParseAddrPort("203.0.113.7:5000")

	show := func(pkt []byte, v nat.Verdict) {
		fmt.Printf("%s: %v, %v\n", ipv4.Summary(pkt), v.Action, v.Reason)
	}
	pkt := ipv4.AppendUDP(nil, 1, client, server, []byte("hello"))
	show(pkt, n.Outbound(now, pkt))

	pkt = ipv4.AppendUDP(nil, 2, server, mapped, []byte("hi"))
	show(pkt, n.Inbound(now, pkt))

	pkt = ipv4.AppendUDP(nil, 3, netip.MustParseAddrPort("198.51.100.1:53"), mapped, []byte("hi"))
	show(pkt, n.Inbound(now, pkt))
	// Output:
	// UDP 203.0.113.7:5000 > 198.51.100.1:3544, 5 B: forward, mapping created
	// UDP 198.51.100.1:3544 > 192.168.1.2:5000, 2 B: forward, mapping exists and the filter permits the sender
	// UDP 198.51.100.1:53 > 203.0.113.7:5000, 2 B: drop, filtered: the inside sent to this address but not to this port
}

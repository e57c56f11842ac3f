package sim

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

// A host at the gateway's address takes datagrams and multicast of the LAN, and
// answers pings in the router's place; the rest goes through the NAT as before.
func TestGatewayHost(t *testing.T) {
	w := New(1, time.Unix(0, 0))
	cfg, _ := nat.Profile("cone")
	cfg.External = []netip.Addr{netip.MustParseAddr("203.0.113.1")}
	router, err := w.Router("home", cfg, link.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := router.GatewayHost("early"); !errors.Is(err, ErrBadAddress) {
		t.Errorf("without a gateway address: %v", err)
	}
	if err := router.SetGateway(netip.MustParseAddr("192.168.1.1")); err != nil {
		t.Fatal(err)
	}
	alice, err := router.Host("alice", link.Config{}, netip.MustParseAddr("192.168.1.2"))
	if err != nil {
		t.Fatal(err)
	}
	self, err := router.GatewayHost("self")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := router.GatewayHost("again"); !errors.Is(err, ErrAddressInUse) {
		t.Errorf("twice: %v", err)
	}
	var got []string
	port, err := self.BindUDP(5351, nil)
	if err != nil {
		t.Fatal(err)
	}
	port.recv = func(_ time.Time, from netip.AddrPort, b []byte) {
		got = append(got, "self "+string(b))
		_ = port.SendTo(from, []byte("answer"))
	}
	mine, err := alice.BindUDP(5350, func(_ time.Time, from netip.AddrPort, b []byte) {
		got = append(got, "alice "+from.String()+" "+string(b))
	})
	if err != nil {
		t.Fatal(err)
	}
	alice.Receive = func(_ time.Time, pkt []byte) {
		_, n, _ := ipv4.Check(pkt)
		if ipv4.Proto(pkt) == ipv4.ICMP && pkt[n] == ipv4.EchoReply {
			got = append(got, "pong")
		}
	}
	for _, to := range []string{"192.168.1.1:5351", "224.0.0.1:5351"} {
		if err := mine.SendTo(netip.MustParseAddrPort(to), []byte(to)); err != nil {
			t.Fatal(err)
		}
		w.Settle(time.Second)
	}
	if err := port.SendTo(netip.MustParseAddrPort("224.0.0.1:5350"), []byte("news")); err != nil {
		t.Fatal(err)
	}
	alice.Send(ipv4.AppendEcho(nil, ipv4.EchoRequest, alice.Addr(), self.Addr(), 1, 1, nil))
	w.Settle(time.Second)
	want := []string{"self 192.168.1.1:5351", "alice 192.168.1.1:5351 answer", "self 224.0.0.1:5351", "alice 192.168.1.1:5351 answer",
		"alice 192.168.1.1:5351 news", "pong"}
	if len(got) != len(want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%d: got %q, want %q", i, got[i], want[i])
		}
	}
}

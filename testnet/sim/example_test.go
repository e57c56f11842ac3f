package sim_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
)

// A home host asks a server on the Internet, which answers to the address that
// it saw.
func Example() {
	w := sim.New(1, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	w.SetTrace(func(e sim.Event) { fmt.Println(e) })

	server, _ := w.Host("server", link.Config{Delay: 20 * time.Millisecond}, netip.MustParseAddr("198.51.100.1"))
	cfg, _ := nat.Profile("port-restricted")
	cfg.External = []netip.Addr{netip.MustParseAddr("203.0.113.1")}
	home, _ := w.Router("home", cfg, link.Config{Delay: 5 * time.Millisecond})
	alice, _ := home.Host("alice", link.Config{}, netip.MustParseAddr("192.168.1.2"))

	var service *sim.UDPPort
	service, _ = server.BindUDP(3544, func(now time.Time, from netip.AddrPort, b []byte) {
		service.SendTo(from, b)
	})
	port, _ := alice.BindUDP(5000, func(now time.Time, from netip.AddrPort, b []byte) {
		fmt.Printf("alice: %q from %v\n", b, from)
	})
	port.SendTo(netip.MustParseAddrPort("198.51.100.1:3544"), []byte("hello"))
	w.Advance(w.Now().Add(time.Second))
	// Output:
	// 00:00:00.000000 alice        sent       UDP 192.168.1.2:5000 > 198.51.100.1:3544, 5 B
	// 00:00:00.000000 home         forwarded  UDP 203.0.113.1:5000 > 198.51.100.1:3544, 5 B: mapping created
	// 00:00:00.025000 server       delivered  UDP 203.0.113.1:5000 > 198.51.100.1:3544, 5 B
	// 00:00:00.025000 server       sent       UDP 198.51.100.1:3544 > 203.0.113.1:5000, 5 B
	// 00:00:00.050000 home         forwarded  UDP 198.51.100.1:3544 > 192.168.1.2:5000, 5 B: mapping exists and the filter permits the sender
	// 00:00:00.050000 alice        delivered  UDP 198.51.100.1:3544 > 192.168.1.2:5000, 5 B
	// alice: "hello" from 198.51.100.1:3544
}

// Ordinary blocking code runs on the world's sockets while Run moves it, here
// on the real clock; inside testing/synctest the same costs no time.
func ExampleWorld_Run() {
	w := sim.New(1, time.Now())
	line := link.Config{Delay: time.Millisecond}
	server, _ := w.Host("server", line, netip.MustParseAddr("198.51.100.1"))
	client, _ := w.Host("client", line, netip.MustParseAddr("198.51.100.2"))
	listener, _ := server.ListenPacket(netip.MustParseAddrPort("0.0.0.0:7"))
	socket, _ := client.ListenPacket(netip.AddrPort{})
	defer listener.Close()
	defer socket.Close()

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()

	socket.WriteTo([]byte("hello"), listener.LocalAddr())
	buf := make([]byte, 100)
	n, from, err := listener.ReadFrom(buf)
	fmt.Printf("%q from %v, %v\n", buf[:n], from, err)

	cancel()
	fmt.Println(<-done)
	// Output:
	// "hello" from 198.51.100.2:49152, <nil>
	// context canceled
}

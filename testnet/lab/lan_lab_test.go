//go:build lab && linux

package lab_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"shipworm/testnet/lab"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

// Multicast reaches the other hosts of a home, for SSDP and Teredo's local
// discovery (RFC 4380, 2.13), and nobody else.
func TestMulticast(t *testing.T) {
	l, err := lab.New(lab.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.CloseAfter(t)
	server, err := l.Host("server", link.Config{}, server1)
	if err != nil {
		t.Fatal(err)
	}
	cfg, _ := nat.Profile("cone")
	cfg.External = []netip.Addr{outside}
	router, err := l.Router("router", cfg, link.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var hosts []*lab.Host
	for i, name := range []string{"pc", "tv", "phone"} {
		h, err := router.Host(name, link.Config{}, netip.AddrFrom4([4]byte{192, 168, 1, byte(10 + i)}))
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	home, neighbours := hosts[0], hosts[1:]
	stranger := addHome(t, l, "port-restricted", 1)
	for _, group := range []string{"239.255.255.250:1900", "224.0.0.253:3544"} {
		t.Run(group, func(t *testing.T) {
			to := netip.MustParseAddrPort(group)
			var members []*net.UDPConn
			for _, h := range append(neighbours[:2:2], stranger, server) {
				members = append(members, join(t, h, to))
			}
			pc := listen(t, home, netip.AddrPortFrom(home.Addr(), 0))
			send(t, pc, net.UDPAddrFromAddrPort(to), "who is there?")
			for i, m := range members[:2] {
				text, from := receive(t, m)
				if text != "who is there?" || from.String() != pc.LocalAddr().String() {
					t.Errorf("neighbour %d: %q from %v", i, text, from)
				}
				send(t, m, from, "I am")
				if text, _ := receive(t, pc); text != "I am" {
					t.Errorf("neighbour %d: answer %q", i, text)
				}
			}
			for _, m := range members[2:] {
				refuse(t, m)
			}
		})
	}
}

// join is a socket that hears a group on the host's line.
func join(t *testing.T, h *lab.Host, group netip.AddrPort) *net.UDPConn {
	t.Helper()
	var pc *net.UDPConn
	err := h.Do(func() error {
		line, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		pc, err = net.ListenMulticastUDP("udp", line, net.UDPAddrFromAddrPort(group))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	return pc
}

// waitTimeout is a context for what must happen soon.
func waitTimeout(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

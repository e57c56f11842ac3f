//go:build lab && linux

package lab_test

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"shipworm/testnet/lab"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
)

// A home behind a carrier's NAT: routers nest, names resolve, the trace shows
// both translations, and a router's address can change under running programs.
func TestNested(t *testing.T) {
	l, err := lab.New(lab.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.CloseAfter(t)
	server, err := l.Host("server", link.Config{}, server1)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Reflect(); err != nil {
		t.Fatal(err)
	}
	profile := func(name, external string) nat.Config {
		cfg, _ := nat.Profile(name)
		cfg.External = []netip.Addr{netip.MustParseAddr(external)}
		return cfg
	}
	carrier, err := l.Router("carrier", profile("carrier", "198.51.100.10"), link.Config{})
	if err != nil {
		t.Fatal(err)
	}
	router, err := carrier.Router("router", profile("linux", "100.64.0.2"), link.Config{})
	if err != nil {
		t.Fatal(err)
	}
	home, err := router.Host("home", link.Config{}, inside)
	if err != nil {
		t.Fatal(err)
	}
	phone, err := router.Host("phone", link.Config{}, netip.MustParseAddr("192.168.1.3"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := router.Host("stray", link.Config{}, netip.MustParseAddr("192.168.2.3")); err == nil {
		t.Error("a host of another network was accepted")
	}

	var mu sync.Mutex
	forwarded := map[string]int{}
	l.SetTrace(func(e sim.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind == sim.Forwarded {
			forwarded[e.Node]++
		}
	})
	seen := strings.TrimSpace(output(t, home, "curl", "-sS", "http://server/"))
	if !strings.HasPrefix(seen, "198.51.100.10:") {
		t.Errorf("seen as %s, want the carrier's address", seen)
	}
	l.SetTrace(nil)
	mu.Lock()
	if forwarded["router"] == 0 || forwarded["router"] != forwarded["carrier"] {
		t.Errorf("forwarded: %v, want as many by both routers", forwarded)
	}
	mu.Unlock()

	// Neighbours, and the router itself, without a detour over the carrier.
	output(t, home, "ping", "-n", "-c1", "-W5", "phone")
	output(t, phone, "ping", "-n", "-c1", "-W5", "192.168.1.1")

	err = carrier.Change(func(r *sim.Router) error { return r.SetExternal(netip.MustParseAddr("198.51.100.99")) })
	if err != nil {
		t.Fatal(err)
	}
	seen = strings.TrimSpace(output(t, home, "curl", "-sS", "http://server/"))
	if !strings.HasPrefix(seen, "198.51.100.99:") {
		t.Errorf("seen as %s, want the carrier's new address", seen)
	}
}

// Hosts that cannot be are refused, and leave the laboratory usable.
func TestBadHosts(t *testing.T) {
	l, _, _ := newLab(t, "cone", link.Config{})
	tests := []struct {
		name  string
		host  string
		line  link.Config
		addrs []netip.Addr
	}{
		{"no address", "a", link.Config{}, nil},
		{"multicast", "b", link.Config{}, []netip.Addr{netip.MustParseAddr("ff02::1")}},
		{"address in use", "c", link.Config{}, []netip.Addr{server1}},
		{"name in use", "server", link.Config{}, []netip.Addr{netip.MustParseAddr("203.0.113.3")}},
		{"impossible line", "d", link.Config{Loss: 2}, []netip.Addr{netip.MustParseAddr("203.0.113.3")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if h, err := l.Host(tt.host, tt.line, tt.addrs...); err == nil {
				t.Errorf("accepted as %v", h.Addr())
			}
		})
	}
	late, err := l.Host("late", link.Config{}, netip.MustParseAddr("203.0.113.3"))
	if err != nil {
		t.Fatal(err)
	}
	output(t, late, "ping", "-n", "-c1", "-W5", fmt.Sprint(server2))
}

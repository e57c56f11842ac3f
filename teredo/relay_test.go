package teredo

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func opens(d Device) func() (Device, error) { return func() (Device, error) { return d, nil } }

// A packet of a native host wakes a client behind a NAT, by way of its server,
// and reaches it; the state says so, also after the end.
func TestRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5*time.Millisecond)
		w.server()
		home, _ := w.home("port-restricted")
		c, _ := w.client(home, nil)
		addr, err := c.WaitQualified(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		host, err := w.w.Host("relay", w.line, netip.MustParseAddr("192.0.2.99"))
		if err != nil {
			t.Fatal(err)
		}
		device, ready := newMemory(), make(chan RelayState, 1)
		node := netip.MustParseAddr("2001:db8::2")
		r, err := NewRelay(RelayConfig{
			Open: opens(device), Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8::/64")}, Listen: listenOn(host),
			OnReady: func(s RelayState) { ready <- s }, Rand: seeded(1),
		})
		if err != nil {
			t.Fatal(err)
		}
		if s := r.State(); s.Sent != 0 {
			t.Errorf("before Run: %+v", s)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		<-ready
		device.toTunnel <- udp6(node, addr.Addr(), "hello")
		time.Sleep(time.Second)
		if s := r.State(); s.Sent != 1 || s.PeersTrusted != 1 || s.Bubbles != 1 {
			t.Errorf("%+v", s)
		}
		if err := r.Run(ctx); !errors.Is(err, ErrRan) {
			t.Errorf("Run again: %v", err)
		}
		over := errors.New("over")
		cancel(over)
		if err := <-ended; !errors.Is(err, over) {
			t.Errorf("Run ended with %v", err)
		}
		if s := r.State(); s.Sent != 1 {
			t.Errorf("after Run: %+v", s)
		}
		select {
		case <-device.Closed():
		default:
			t.Error("the device is open")
		}
	})
}

// A host-specific relay gives the device the address that it serves. T-29
func TestRelayHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5*time.Millisecond)
		host, _ := w.home("port-restricted")
		device := newMemory()
		node := netip.MustParseAddr("2001:db8::2")
		r, err := NewRelay(RelayConfig{Open: opens(device), Host: node, Listen: listenOn(host), Direct: true})
		if err != nil {
			t.Fatal(err)
		}
		w.start(r.Run)
		if a := <-device.addrs; a != node {
			t.Errorf("address %v", a)
		}
		if s := r.State(); len(s.Served) != 1 || s.Served[0] != netip.PrefixFrom(node, 128) || !s.Direct {
			t.Errorf("%+v", s)
		}
	})
}

// The configuration is checked as a whole.
func TestRelayConfig(t *testing.T) {
	_, err := NewRelay(RelayConfig{
		Host: netip.MustParseAddr("2001:db8::1"), Prefixes: []netip.Prefix{netip.MustParsePrefix("fe80::/10")},
		Local: netip.MustParseAddrPort("[::1]:5"),
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"no device", "both prefixes and", "not IPv4", "not of native nodes"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

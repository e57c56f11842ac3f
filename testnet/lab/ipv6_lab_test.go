//go:build lab && linux

package lab_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"shipworm/testnet/firewall"
	"shipworm/testnet/lab"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

// dual is a laboratory of both families: a server and two homes with firewalls.
func dual(t *testing.T, line link.Config) (server, alice, bob *lab.Host) {
	t.Helper()
	l, err := lab.New(lab.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.CloseAfter(t)
	if server, err = l.Host("server", link.Config{}, server1, netip.MustParseAddr("2001:db8::1")); err != nil {
		t.Fatal(err)
	}
	if err := server.Reflect(); err != nil {
		t.Fatal(err)
	}
	var hosts [2]*lab.Host
	for i, name := range []string{"alice", "bob"} {
		cfg, _ := nat.Profile("port-restricted")
		cfg.External = []netip.Addr{netip.AddrFrom4([4]byte{198, 51, 100, byte(10 + i)})}
		r, err := l.Router("home of "+name, cfg, line)
		if err != nil {
			t.Fatal(err)
		}
		prefix := netip.MustParsePrefix([]string{"2001:db8:a::/56", "2001:db8:b::/56"}[i])
		if err := r.Delegate(prefix, &firewall.Config{Filtering: nat.AddressAndPortDependent}); err != nil {
			t.Fatal(err)
		}
		own := prefix.Addr().Next().Next()
		if hosts[i], err = r.Host(name, link.Config{}, inside, own); err != nil {
			t.Fatal(err)
		}
		if err := hosts[i].Reflect(); err != nil {
			t.Fatal(err)
		}
	}
	return server, hosts[0], hosts[1]
}

// Real programs between hosts of both families: a name has both addresses, the
// firewall lets out and not in, and routers count hops.
func TestIPv6(t *testing.T) {
	for name, line := range map[string]link.Config{"whole": {}, "packets": {Delay: time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			server, alice, bob := dual(t, line)
			for _, want := range []string{"2001:db8::1", "203.0.113.1"} {
				if out := output(t, alice, "getent", "ahosts", "server"); !strings.Contains(out, want) {
					t.Errorf("server has not %s: %s", want, out)
				}
			}
			output(t, alice, "ping", "-6", "-c1", "-W20", "server")
			output(t, alice, "ping", "-6", "-c1", "-W20", "2001:db8:a::1") // its router
			output(t, alice, "ping", "-6", "-c1", "-W20", "-s", "4000", "server")
			if out := output(t, alice, "curl", "-6", "-sS", "-m20", "http://server/"); !strings.HasPrefix(out, "[2001:db8:a::2]:") {
				t.Errorf("the server sees %q", out)
			}
			if out := output(t, alice, "curl", "-4", "-sS", "-m20", "http://server/"); !strings.HasPrefix(out, "198.51.100.10:") {
				t.Errorf("the server sees %q", out)
			}
			for _, h := range []*lab.Host{server, bob} {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				for _, args := range [][]string{{"ping", "-6", "-c1", "-W1", "alice"}, {"curl", "-6", "-sS", "-m1", "http://alice/"}} {
					if out, err := h.Command(ctx, args[0], args[1:]...).CombinedOutput(); err == nil {
						t.Errorf("%s reached alice from %s: %s", args[0], h.Name(), out)
					}
				}
				cancel()
			}
			// The second hop has the router's address; the first answer is its.
			out, err := alice.Command(t.Context(), "ping", "-6", "-c1", "-W20", "-t1", "server").CombinedOutput()
			if err == nil || !strings.Contains(string(out), "2001:db8:a::1") || !strings.Contains(string(out), "Time exceeded") {
				t.Errorf("one hop: %v\n%s", err, out)
			}
		})
	}
}

// Much data over IPv6 arrives as it was sent: in one piece, in packets, and
// where a router has to say that packets are too big.
func TestIPv6Transfer(t *testing.T) {
	for name, line := range map[string]link.Config{"whole": {}, "packets": {Delay: time.Millisecond}, "too big": {MTU: 1400}} {
		t.Run(name, func(t *testing.T) {
			_, alice, _ := dual(t, line)
			var c net.Conn
			err := alice.Do(func() (err error) {
				c, err = net.Dial("tcp", "[2001:db8::1]:7")
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(time.Minute))
			want := make([]byte, 5<<20)
			_, _ = rand.NewChaCha8([32]byte{1}).Read(want)
			go func() { _, _ = c.Write(want) }()
			got := make([]byte, len(want))
			if n, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %v, equal: %v", n, err, bytes.Equal(got, want))
			}
		})
	}
}

// A TUN is enough for discovery on the LAN: UPnP's and PCP's groups of both
// families reach the neighbours, with link-local addresses where that is their
// scope, and nobody else.
func TestIPv6Multicast(t *testing.T) {
	l, err := lab.New(lab.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.CloseAfter(t)
	cfg, _ := nat.Profile("cone")
	cfg.External = []netip.Addr{outside}
	router, err := l.Router("router", cfg, link.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := router.Delegate(netip.MustParsePrefix("2001:db8:a::/64"), nil); err != nil {
		t.Fatal(err)
	}
	var hosts []*lab.Host
	for i, name := range []string{"pc", "tv"} {
		h, err := router.Host(name, link.Config{}, netip.AddrFrom4([4]byte{192, 168, 1, byte(10 + i)}),
			netip.MustParseAddr([]string{"2001:db8:a::10", "2001:db8:a::11"}[i]))
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	stranger, err := l.Host("stranger", link.Config{}, server1, netip.MustParseAddr("2001:db8::1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range []string{"[ff02::c]:1900", "[ff05::c]:1900", "[ff02::1]:5350", "[ff02::fb]:5353", "224.0.0.251:5353", "224.0.0.1:5350"} {
		t.Run(group, func(t *testing.T) {
			to := netip.MustParseAddrPort(group)
			tv, far := join(t, hosts[1], to), join(t, stranger, to)
			pc := listen(t, hosts[0], netip.AddrPortFrom(netip.IPv6Unspecified(), 0))
			target := net.UDPAddrFromAddrPort(to)
			if to.Addr().Is6() {
				target.Zone = "2" // the number of eth0 in every host
			} else {
				pc = listen(t, hosts[0], netip.AddrPortFrom(hosts[0].Addr(), 0))
			}
			send(t, pc, target, "who is there?")
			text, from := receive(t, tv)
			if text != "who is there?" {
				t.Errorf("heard %q", text)
			}
			if a := from.(*net.UDPAddr).AddrPort().Addr(); to.Addr().IsLinkLocalMulticast() && to.Addr().Is6() && !a.IsLinkLocalUnicast() {
				t.Errorf("heard it from %v, want a link-local address", a)
			}
			send(t, tv, from, "I am")
			if text, _ := receive(t, pc); text != "I am" {
				t.Errorf("answer %q", text)
			}
			refuse(t, far)
		})
	}
}

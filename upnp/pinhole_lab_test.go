//go:build lab && linux

package upnp

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Addresses of the home's IPv6, which nothing routes elsewhere.
var (
	labServer6 = netip.MustParseAddr("2001:db8:1::1")
	labPC6     = netip.MustParseAddr("2001:db8:2::2")
)

// newHome6 is a home with IPv6 on both sides, behind the same firewall.
func newHome6(t testing.TB, via string) *home {
	t.Helper()
	return newHomeWith(t, "yes", "yes", "ext_ifname6=wan6\n", func(h *home) {
		if via == "UPnP" { // the daemon cannot be told to leave PCP on IPv6 alone
			h.output(t, h.gateway, "nft", "add chain inet filter input { type filter hook input priority 0; }; add rule inet filter input udp dport 5351 reject")
		}
		h.output(t, h.gateway, "ip", "link", "add", "wan6", "type", "veth", "peer", "name", "wan6", "netns", h.server.Netns())
		h.output(t, h.gateway, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
		h.output(t, h.gateway, "ip", "address", "add", "fe80::1/64", "dev", "lan0", "nodad")
		h.output(t, h.gateway, "ip", "address", "add", "2001:db8:2::1/64", "dev", "lan0", "nodad")
		h.output(t, h.gateway, "ip", "address", "add", "2001:db8:1::2/64", "dev", "wan6", "nodad")
		h.output(t, h.gateway, "ip", "link", "set", "wan6", "up")
		h.output(t, h.server, "ip", "address", "add", labServer6.String()+"/64", "dev", "wan6", "nodad")
		h.output(t, h.server, "ip", "link", "set", "wan6", "up")
		h.output(t, h.server, "ip", "route", "add", "2001:db8:2::/64", "via", "2001:db8:1::2")
		h.output(t, h.pc, "ip", "address", "add", labPC6.String()+"/64", "dev", "lan0", "nodad")
		h.output(t, h.pc, "ip", "-6", "route", "add", "default", "via", "fe80::1", "dev", "lan0")
	})
}

// A pinhole of miniupnpd by either protocol lets a datagram from outside in that
// the firewall has stopped before, and stops again after the end.
func TestMiniupnpdPinhole(t *testing.T) {
	for _, via := range []string{"PCP", "UPnP"} {
		t.Run(via, func(t *testing.T) {
			h := newHome6(t, via)
			k := h.keeper(t, "IPv6")
			r := k.mapping(t, time.Minute)
			if r.Mapping.Via.String() != via || r.Mapping.External.Addr() != labPC6 {
				t.Fatalf("mapped %+v", r.Mapping)
			}
			h.reach(t, k, r.Mapping.External, time.Minute)
			t.Logf("%s: open after %.1f ms", via, r.Millis)
			k.end(t)
			if h.arrives(t, r.Mapping.External, briefly) {
				t.Error("still open after the end")
			}
		})
	}
}

// The same by the commands of a person.
func TestPinholeCommands(t *testing.T) {
	bin := os.Getenv("SHIPWORM_BIN")
	if bin == "" {
		bin = filepath.Join(t.TempDir(), "shipworm")
		if out, err := exec.Command("go", "build", "-o", bin, "shipworm/cmd/shipworm").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	at := netip.AddrPortFrom(labPC6, 5000)
	for _, via := range []string{"PCP", "UPnP"} {
		t.Run(via, func(t *testing.T) {
			h := newHome6(t, via)
			t.Setenv("XDG_STATE_HOME", t.TempDir())
			if h.arrives(t, at, briefly) {
				t.Fatal("open before: nothing is tested")
			}
			if out := h.output(t, h.pc, bin, "upnp", "add", "--ipv6", "5000"); !strings.Contains(out, at.String()) || !strings.Contains(out, via) {
				t.Errorf("add: %s", out)
			}
			if !h.arrives(t, at, time.Minute) {
				t.Error("closed after add")
			}
			h.output(t, h.pc, bin, "upnp", "delete", "5000")
			if h.arrives(t, at, briefly) {
				t.Error("open after delete")
			}
		})
	}
}

// briefly is how long nothing is waited for.
const briefly = 500 * time.Millisecond

// arrives reports whether one of the datagrams from the server gets within a time
// to a port of the PC that nobody uses otherwise.
func (h *home) arrives(t testing.TB, to netip.AddrPort, within time.Duration) bool {
	t.Helper()
	var c net.PacketConn
	err := h.pc.Do(func() (err error) { c, err = net.ListenPacket("udp", to.String()); return err })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for begin := time.Now(); time.Since(begin) < within; {
		err := h.server.Do(func() error {
			s, err := net.Dial("udp", to.String())
			if err == nil {
				_, err = s.Write([]byte("hello"))
				s.Close()
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, _, err := c.ReadFrom(make([]byte, 64)); err == nil {
			return true
		} else if !os.IsTimeout(err) {
			t.Fatal(err)
		}
	}
	return false
}

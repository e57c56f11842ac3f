//go:build lab && linux

package install_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"shipworm/internal/leak"
	"shipworm/testnet/firewall"
	"shipworm/testnet/igd"
	"shipworm/testnet/igd/install"
	"shipworm/testnet/lab"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

func TestMain(m *testing.M) {
	inside, code, err := lab.Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if !inside || err != nil {
		os.Exit(code)
	}
	goleak.VerifyTestMain(leak.Patient(m))
}

// public is the outside of the NAT: miniupnpc believes in no address of the
// ranges for documentation.
var (
	public  = netip.MustParseAddr("11.0.0.10")
	inside6 = netip.MustParseAddr("2001:db8:a::2")
)

// home is a laboratory with one NAT, a router of package igd on it, and a
// client behind it.
type home struct {
	*install.Installed
	pc, server *lab.Host
}

func newHome(t *testing.T, kind, profile string) home {
	t.Helper()
	for _, p := range []string{"upnpc", "natpmpc"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs miniupnpc and natpmpc: %v", err)
		}
	}
	l, err := lab.New(lab.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.CloseAfter(t)
	cfg, _ := nat.Profile(kind)
	cfg.External = []netip.Addr{public}
	server, err1 := l.Host("server", link.Config{}, netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8::1"))
	router, err2 := l.Router("home", cfg, link.Config{})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if err := router.Delegate(netip.MustParsePrefix("2001:db8:a::/64"), &firewall.Config{}); err != nil {
		t.Fatal(err)
	}
	pc, err := router.Host("pc", link.Config{}, inside, inside6)
	if err != nil {
		t.Fatal(err)
	}
	p, ok := igd.Lookup(profile)
	if !ok {
		t.Fatalf("no profile %q", profile)
	}
	d, err := install.Lab(router, gateway, "gateway", p, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = d.Server.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return home{d, pc, server}
}

// run runs a program on the client and returns what it printed.
func (h home) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := h.pc.Command(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Logf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// upnpc skips the search, which takes two seconds each time.
func (h home) upnpc(t *testing.T, args ...string) string {
	t.Helper()
	return h.run(t, "upnpc", append([]string{"-u", "http://192.168.1.1:5000/rootDesc.xml"}, args...)...)
}

// search wants a run of upnpc that searches to print a match, within a few: it
// listens for answers for two seconds only, and a machine may stand still.
func (h home) search(t *testing.T, pattern string, args ...string) {
	t.Helper()
	out := ""
	for range 10 {
		if out = h.run(t, "upnpc", args...); regexp.MustCompile(pattern).MatchString(out) {
			return
		}
	}
	want(t, out, pattern)
}

// eventually tries for a minute.
func eventually(f func() bool) bool {
	for end := time.Now().Add(time.Minute); ; {
		if f() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

func want(t *testing.T, out, pattern string) {
	t.Helper()
	if !regexp.MustCompile(pattern).MatchString(out) {
		t.Errorf("want %q in\n%s", pattern, out)
	}
}

// reaches waits for what arrives reports.
func (h home) reaches(t *testing.T, network string, internal, external uint16) bool {
	t.Helper()
	return eventually(func() bool { return h.arrives(t, network, internal, external) })
}

// arrives sends from outside to the mapped port, and reports whether it
// reached the client's port at once.
func (h home) arrives(t *testing.T, network string, internal, external uint16) bool {
	t.Helper()
	local := netip.AddrPortFrom(h.pc.Addr(), internal).String()
	to := netip.AddrPortFrom(public, external).String()
	const patience = 300 * time.Millisecond
	if network == "udp4" {
		var in net.PacketConn
		var out net.Conn
		err1 := h.pc.Do(func() (err error) { in, err = net.ListenPacket(network, local); return err })
		err2 := h.server.Do(func() (err error) { out, err = net.Dial(network, to); return err })
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		defer out.Close()
		_, _ = io.WriteString(out, "hello")
		_ = in.SetReadDeadline(time.Now().Add(patience))
		buf := make([]byte, 100)
		n, from, err := in.ReadFrom(buf)
		return err == nil && string(buf[:n]) == "hello" && from.String() == out.LocalAddr().String()
	}
	var in net.Listener
	if err := h.pc.Do(func() (err error) { in, err = net.Listen(network, local); return err }); err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	return h.server.Do(func() error {
		c, err := net.DialTimeout(network, to, patience)
		if err == nil {
			c.Close()
		}
		return err
	}) == nil
}

// Debian's upnpc finds the router by multicast, and what it maps is open to the
// outside, behind every kind of NAT.
func TestUPnPC(t *testing.T) {
	for _, kind := range []string{"cone", "port-restricted", "symmetric"} {
		t.Run(kind, func(t *testing.T) {
			h := newHome(t, kind, "upnp-only")
			h.search(t, `Found valid IGD : http://192\.168\.1\.1:5000/ctl/WANIPConnection\n(.*\n)*.*Status : Connected(.*\n)*.*ExternalIPAddress = 11\.0\.0\.10`, "-s")
			want(t, h.upnpc(t, "-a", "192.168.1.2", "6000", "16000", "UDP", "600"), `external 11\.0\.0\.10:16000 UDP is redirected to internal 192\.168\.1\.2:6000 \(duration=600\)`)
			want(t, h.upnpc(t, "-n", "192.168.1.2", "6001", "16001", "TCP", "600"), `external 11\.0\.0\.10:16001 TCP is redirected to internal 192\.168\.1\.2:6001`)
			want(t, h.upnpc(t, "-l"), `0 UDP 16000->192\.168\.1\.2:6000 .*\n.*1 TCP 16001->192\.168\.1\.2:6001 `)
			want(t, h.upnpc(t, "-a", "192.168.1.99", "6000", "16002", "UDP", "600"), `failed with code 718`)
			if !h.reaches(t, "udp4", 6000, 16000) || !h.reaches(t, "tcp4", 6001, 16001) {
				t.Error("nothing comes through the mappings")
			}
			want(t, h.upnpc(t, "-d", "16000", "UDP"), `UPNP_DeletePortMapping\(\) returned : 0`)
			want(t, h.upnpc(t, "-d", "16001", "TCP"), `UPNP_DeletePortMapping\(\) returned : 0`)
			if h.arrives(t, "udp4", 6000, 16000) || h.arrives(t, "tcp4", 6001, 16001) {
				t.Error("the mappings were deleted, and something comes through")
			}
			if kind != "cone" {
				return
			}
			if !eventually(func() bool { // it may be over before it is tried
				want(t, h.upnpc(t, "-a", "192.168.1.2", "6000", "16000", "UDP", "2"), `is redirected`)
				return h.arrives(t, "udp4", 6000, 16000)
			}) {
				t.Error("nothing comes through a lease of 2 s")
			}
			if !eventually(func() bool { return !h.arrives(t, "udp4", 6000, 16000) }) {
				t.Error("a lease of 2 s lives on")
			}
		})
	}
}

// Debian's natpmpc opens a port over NAT-PMP.
func TestNATPMPC(t *testing.T) {
	h := newHome(t, "port-restricted", "natpmp-only")
	out := h.run(t, "natpmpc", "-a", "16010", "6010", "udp", "60")
	want(t, out, `Public IP address : 11\.0\.0\.10`)
	want(t, out, `Mapped public port 16010 protocol UDP to local port 6010 lif(e)?time 60`)
	if !h.reaches(t, "udp4", 6010, 16010) {
		t.Error("nothing comes through the mapping")
	}
	want(t, h.run(t, "natpmpc", "-a", "0", "6010", "udp", "0"), `lif(e)?time 0`)
	if h.arrives(t, "udp4", 6010, 16010) {
		t.Error("the mapping was deleted, and something comes through")
	}
}

// Where the home has IPv6, upnpc opens a pinhole of its firewall.
func TestPinhole(t *testing.T) {
	h := newHome(t, "cone", "upnp-only")
	to := netip.AddrPortFrom(inside6, 6000)
	arrives := func() bool {
		var in net.PacketConn
		var out net.Conn
		err1 := h.pc.Do(func() (err error) { in, err = net.ListenPacket("udp6", to.String()); return err })
		err2 := h.server.Do(func() (err error) { out, err = net.Dial("udp6", to.String()); return err })
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		defer out.Close()
		_, _ = io.WriteString(out, "hello")
		_ = in.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		n, _, err := in.ReadFrom(make([]byte, 100))
		return err == nil && n == 5
	}
	if arrives() {
		t.Fatal("the firewall lets in what nobody asked for")
	}
	want(t, h.upnpc(t, "-A", "empty", "0", inside6.String(), "6000", "17", "600"), `(?s)pinhole.*succeeded|Pinhole ID`)
	if !eventually(arrives) {
		t.Error("nothing comes through the pinhole")
	}
}

// Each fault is what upnpc says it is.
func TestFaultsAsUPnPCSeesThem(t *testing.T) {
	add := []string{"-a", "192.168.1.2", "6000", "16000", "UDP"}
	for _, tt := range []struct{ profile, args, want string }{
		{"permanent-only", "600", `failed with code 725 \(OnlyPermanentLeasesSupported\)`},
		{"permanent-only", "", `16000 UDP is redirected`},
		{"lease-0-402", "0", `failed with code 402 \(Invalid Args\)`},
		{"conflict", "600", `failed with code 718 \(ConflictInMappingEntry\)`},
		{"fault-200", "600", `failed with code 718`},
		{"chunked", "600", `16000 UDP is redirected`},
		{"ppp-only", "600", `16000 UDP is redirected`},
		{"control-relative", "600", `16000 UDP is redirected`},
		{"external-zero", "600", `16000 UDP is redirected|not connected|No valid`},
		{"location-null", "600", `No valid UPNP Internet Gateway Device found|No IGD UPnP Device found`},
		{"none", "600", `No IGD UPnP Device found`},
	} {
		t.Run(strings.TrimSpace(tt.profile+" "+tt.args), func(t *testing.T) {
			h := newHome(t, "cone", tt.profile)
			args := add
			if tt.args != "" {
				args = append(args[:len(args):len(args)], tt.args)
			}
			if strings.Contains(tt.want, "found") || strings.Contains(tt.profile, "ppp") {
				h.search(t, tt.want, args...)
				return
			}
			want(t, h.upnpc(t, args...), tt.want)
		})
	}
}

// A machine beside the gateway answers searches, and what it promises is not
// kept.
func TestNotTheGateway(t *testing.T) {
	h := newHome(t, "cone", "not-the-gateway")
	h.search(t, `(?s)http://192\.168\.1\.254:5000/.*16000 UDP is redirected`, "-a", "192.168.1.2", "6000", "16000", "UDP", "600")
	if h.arrives(t, "udp4", 6000, 16000) {
		t.Error("it kept its promise")
	}
	want(t, h.run(t, "ping", "-c1", "-W20", "192.168.1.1"), `1 received`)
}

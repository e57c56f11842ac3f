//go:build lab && linux

package teredo

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"shipworm/testnet/lab"
	"shipworm/testnet/sim"
)

// Our client qualifies against Debian's miredo-server, whatever its NAT.
func TestLabClientAtMiredoServer(t *testing.T) {
	t.Parallel()
	for _, profile := range []string{"cone", "address-restricted", "port-restricted", "symmetric"} {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			s := newStreet(t)
			s.miredoServer()
			_, q := s.client(s.home(profile))
			if q.Address.Server() != primary || q.Address.Mapped() != q.Mapped || q.Mapped.Addr() != netip.MustParseAddr("198.51.100.10") {
				t.Errorf("%+v", q)
			}
			t.Logf("qualified after %.1f ms over a round trip of 20 ms", q.AfterMS)
		})
	}
}

// Without a NAT there is a Teredo address as well, and show says so.
func TestLabPublicHost(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	s.miredoServer()
	h, err := s.lab.Host("public", s.line, netip.MustParseAddr("198.51.100.99"))
	if err != nil {
		t.Fatal(err)
	}
	out, errOut, code := s.run(h, "teredo", "show", "--server", primary.String())
	if code != 0 || !strings.Contains(out, "NAT                     : none (global connectivity)\n") {
		t.Errorf("exit code %d\n%s%s", code, out, errOut)
	}
}

// Debian's miredo client qualifies against our server, with two addresses and
// with one.
func TestLabMiredoAtOurServer(t *testing.T) {
	t.Parallel()
	for _, addrs := range [][]string{{primary.String(), secondary.String()}, {primary.String()}} {
		t.Run(fmt.Sprint(len(addrs), " addresses"), func(t *testing.T) {
			t.Parallel()
			s := newStreet(t)
			var args []string
			for _, a := range addrs {
				args = append(args, "--listen", a)
			}
			s.ourServer(args...)
			a, ok := wireAddress(s.miredoClient(s.home("port-restricted")))
			if !ok || a.Server() != primary || a.Mapped() != netip.MustParseAddrPort("198.51.100.10:3610") {
				t.Errorf("Miredo has %v", a)
			}
		})
	}
}

// Pings cross between our client and a Miredo client, both behind
// port-restricted NATs, both ways, at either server.
func TestLabPingsCross(t *testing.T) {
	t.Parallel()
	for _, server := range []string{"ours", "miredo-server"} {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			s := newStreet(t)
			if server == "ours" {
				s.ourServer("--listen", primary.String(), "--listen", secondary.String())
			} else {
				s.miredoServer()
			}
			us, them := s.home("port-restricted"), s.home("port-restricted")
			theirs := s.miredoClient(them)

			out, errOut, code := s.run(us, "teredo", "ping", "-c", "3", "-i", "0.2", "--server", primary.String(), theirs.String())
			if code != 0 || !strings.Contains(out, "3 received") {
				t.Errorf("exit code %d\n%s%s", code, out, errOut)
			}
			t.Logf("\n%s", out)

			_, q := s.client(us)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			pong, err := them.Command(ctx, "ping", "-6", "-n", "-c", "3", "-i", "0.2", "-w", "40", q.Address.String()).CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, pong)
			}
			t.Logf("\n%s", pong)
		})
	}
}

// teredo show finds the running client; without one it asks for itself. The
// whole runs as nobody, and ends in good order at a signal. C-04, C-06, C-09
func TestLabAsNobody(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become nobody")
	}
	dir, bin := publicCopy(t)
	asNobody := []string{"--reuid", "65534", "--regid", "65534", "--clear-groups", "env", "XDG_RUNTIME_DIR=", "TMPDIR=" + dir + "/tmp", bin}
	if err := os.Mkdir(dir+"/tmp", 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir+"/tmp", 0o1777); err != nil {
		t.Fatal(err)
	}
	s := newStreet(t)
	run := func(args ...string) []string { return append(append([]string{}, asNobody...), args...) }
	server := s.start(s.server, "setpriv", run("teredo", "server", "--listen", primary.String())...)
	s.waitReady(s.server, Port)
	home := s.home("port-restricted")

	show := func(want string) {
		t.Helper()
		cmd := home.Command(t.Context(), "setpriv", run("teredo", "show", "--server", primary.String())...)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "Teredo Parameters\n") || !strings.Contains(string(out), want) {
			t.Errorf("%v\n%s\nwant %q in it", err, out, want)
		}
	}
	show("Client Port             : unspecified\nState                   : qualified")
	client := s.start(home, "setpriv", run("teredo", "client", "--port", "51000", "--server", primary.String())...)
	select {
	case l := <-client.lines:
		if !strings.HasPrefix(l, "qualified: 2001:0:cb00:7101:") {
			t.Fatalf("%q", l)
		}
	case <-time.After(patience):
		t.Fatal("not qualified")
	}
	show("Local Mapping           : 192.168.1.2:51000\nExternal NAT Mapping    : 198.51.100.10:51000\n")
	for _, p := range []*process{client, server} {
		p.end()
	}
	if _, err := os.Stat(dir + "/tmp/shipworm-65534/teredo.sock"); !os.IsNotExist(err) {
		t.Errorf("the control socket is still there: %v", err)
	}
}

// A server that is not there: one line, a hint, exit code 3.
func TestLabServerUnreachable(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	start := time.Now()
	out, errOut, code := s.run(s.home("cone"), "teredo", "client", "--server", primary.String())
	if code != 3 || out != "" || strings.Count(errOut, "\n") != 2 || !strings.HasPrefix(errOut, "shipworm: teredo: ask the server 203.0.113.1: no answer") {
		t.Errorf("exit code %d after %v\n%s%s", code, time.Since(start), out, errOut)
	}
}

// A ping that nobody answers ends with 3 and says what is known.
func TestLabPingNobody(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	s.ourServer("--listen", primary.String())
	out, errOut, code := s.run(s.home("cone"), "teredo", "ping", "-c", "2", "-i", "0.1", "-W", "1", "--server", primary.String(), "2001:0:cb00:7101:0:efff:3fff:fdfe")
	if code != 3 || !strings.Contains(out, "2 packets transmitted, 0 received, 100% packet loss") || !strings.Contains(errOut, "hint: no path") {
		t.Errorf("exit code %d\n%s%s", code, out, errOut)
	}
}

// Full-sized inner packets pass a link that is too small for the outer ones, in
// fragments, and no packet has the DF bit, so that a router further on may
// fragment too. T-34
func TestLabSmallLink(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	s.ourServer("--listen", primary.String())
	var hosts []*lab.Host
	for i := range 2 {
		h, err := s.lab.Host(fmt.Sprint("public", i), s.line, netip.AddrFrom4([4]byte{198, 51, 100, byte(98 + i)}))
		if err != nil {
			t.Fatal(err)
		}
		if out, err := h.Command(t.Context(), "ip", "link", "set", "dev", "eth0", "mtu", "1200").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		hosts = append(hosts, h)
	}
	_, q := s.client(hosts[0])
	var fragments, whole, stubborn atomic.Int32
	s.lab.SetTrace(func(e sim.Event) {
		const udp, dontFragment, moreFragments = 17, 0x40, 0x20
		switch {
		case e.Kind != sim.Sent || len(e.Packet) < 20 || e.Packet[9] != udp:
		case e.Packet[6]&dontFragment != 0:
			stubborn.Add(1)
		case e.Packet[6]&moreFragments != 0:
			fragments.Add(1)
		default:
			whole.Add(1)
		}
	})
	out, errOut, code := s.run(hosts[1], "teredo", "ping", "-c", "5", "-i", "0.2", "-s", "1232", "--server", primary.String(), q.Address.String())
	s.lab.SetTrace(nil)
	if code != 0 || !strings.Contains(out, "5 received") {
		t.Errorf("exit code %d\n%s%s", code, out, errOut)
	}
	if fragments.Load() < 10 || whole.Load() == 0 || stubborn.Load() != 0 {
		t.Errorf("%d first fragments, %d other packets, %d with DF; want at least 10, some and none", fragments.Load(), whole.Load(), stubborn.Load())
	}
}

//go:build lab && linux

package main

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"shipworm/testnet/lab"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
)

// TestProbeWatch runs TestProbeSignals inside the namespaces.
func TestProbeWatch(t *testing.T) {
	t.Parallel()
	runInLab(t, "TestProbeSignals")
}

// C-07: a probe that is interrupted ends at once with 130 and says what it knows
// by then; one that watches tells that the router has been restarted.
func TestProbeSignals(t *testing.T) {
	if os.Getenv(inLab) == "" {
		t.Skip("TestProbeWatch runs it, inside the namespaces")
	}
	l, err := lab.New(lab.Config{Seed: 1})
	must(t, err)
	l.CloseAfter(t)
	addrs := []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")}
	host, err := l.Host("server", link.Config{}, addrs...)
	must(t, err)
	bin := shipworm(t)
	server := host.Command(context.Background(), bin, "probe", "server", "--listen", addrs[0].String(), "--listen", addrs[1].String())
	must(t, server.Start())
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	must(t, host.WaitReady(t.Context(), "udp", 3478))
	cfg, _ := nat.Profile("port-restricted")
	cfg.External = []netip.Addr{netip.MustParseAddr("198.51.100.1")}
	r, err := l.Router("router", cfg, line)
	must(t, err)
	h, err := r.Host("home", link.Config{}, netip.MustParseAddr("192.168.1.2"))
	must(t, err)
	start := func(args ...string) *side {
		return startSideAt(t, h.Do, bin, t.TempDir(), nil, append([]string{"probe", "--no-upnp", "--server", addrs[0].String()}, args...)...)
	}
	made := func() (n uint64) {
		must(t, r.NAT(func(engine *nat.NAT) error { n = engine.Stats().Created; return nil }))
		return n
	}
	// started is start, until the probe has sent something: from then on a signal
	// is for it, and not for a process that is just beginning.
	started := func(args ...string) *side {
		t.Helper()
		before, s := made(), start(args...)
		for end := time.Now().Add(patience); made() == before; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the probe sends nothing")
			}
		}
		return s
	}
	interrupt := func(s *side) {
		t.Helper()
		must(t, s.cmd.Process.Signal(syscall.SIGINT))
		if stderr := s.ends(exitInterrupted); stderr != "" {
			t.Errorf("stderr: %s", stderr)
		}
	}

	t.Run("in the middle", func(t *testing.T) {
		const filtering = "\nFiltering               : address-and-port-dependent\n"
		// For all but the lifetimes; a busy machine takes its time.
		for pause := 10 * time.Second; ; pause *= 2 {
			s := started("--lifetime", "2m")
			time.Sleep(pause)
			interrupt(s)
			s.hasSaid("Interrupted             : ")
			if strings.Contains(s.said(), filtering) {
				break
			}
			if pause > time.Minute {
				t.Fatalf("%q was not said:\n%s", filtering, s.said())
			}
		}
	})
	t.Run("Teredo is silent, too", func(t *testing.T) {
		must(t, cut(r))
		s := start("--json", "--teredo", addrs[0].String())
		s.ends(exitNegative)
		s.hasSaid("Teredo does not know either: no answer from its server, or none to the server's name, within 5s")
		must(t, r.Change(func(r *sim.Router) error { return r.SetLink(line) }))
	})
	t.Run("before an answer", func(t *testing.T) {
		must(t, cut(r))
		s := started()
		interrupt(s)
		s.hasSaid("No server had answered yet.")
		must(t, r.Change(func(r *sim.Router) error { return r.SetLink(line) }))
	})
	t.Run("as JSON", func(t *testing.T) {
		s := started("--lifetime", "2m", "--json")
		interrupt(s)
		s.hasSaid("\n  \"interrupted\": true,\n")
	})
	t.Run("watching", func(t *testing.T) {
		s := start("--watch", "--interval", "10s")
		s.wait("For Remote Assistance")
		first := s.said()
		must(t, cut(r))
		s.wait("no server answers any more\n")
		must(t, r.Change(func(r *sim.Router) error { return r.SetExternal(netip.MustParseAddr("198.51.100.77")) }))
		must(t, r.NAT(func(n *nat.NAT) error { n.Reset(); return nil }))
		must(t, r.Change(func(r *sim.Router) error { return r.SetLink(line) }))
		s.wait("servers answer again\n")
		s.wait("external address: 198.51.100.77, was 198.51.100.1\n")
		interrupt(s)
		more := strings.TrimPrefix(s.said(), first)
		for l := range strings.Lines(more) {
			if at, _, _ := strings.Cut(l, " "); !strings.HasPrefix(at, "20") || !strings.HasSuffix(l, "\n") {
				t.Errorf("line %q", l)
			}
		}
		t.Log("\n" + more)
	})
}

//go:build lab && linux

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"shipworm/testnet/igd"
	"shipworm/testnet/igd/install"
	"shipworm/testnet/lab"
	"shipworm/testnet/nat"
)

// TestRAMapped runs TestRAThroughRouters inside the namespaces.
func TestRAMapped(t *testing.T) {
	t.Parallel()
	runInLab(t, "TestRAThroughRouters")
}

// A mappedHome is a home whose router opens ports.
type mappedHome struct {
	t      *testing.T
	router *lab.Router
	at     place
	igd    *install.Installed
}

func (w *town) mapped(kind, profile string) *mappedHome {
	w.t.Helper()
	r, at := w.home(kind)
	p, ok := igd.Lookup(profile)
	if !ok {
		w.t.Fatalf("no router %q", profile)
	}
	d, err := install.Lab(r, netip.MustParseAddr("192.168.1.1"), fmt.Sprint("gateway", w.homes), p, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = d.Server.Run(ctx) })
	w.t.Cleanup(func() { cancel(); running.Wait() })
	return &mappedHome{w.t, r, at, d}
}

// open are the ports that the router has open now.
func (h *mappedHome) open() (list []nat.PortForward) {
	h.t.Helper()
	must(h.t, h.router.NAT(func(n *nat.NAT) error { list = n.Forwards(); return nil }))
	return list
}

// opens waits until the router has as many ports open.
func (h *mappedHome) opens(t *testing.T, want int, within time.Duration) {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		if got := h.open(); len(got) == want {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("%d ports are open after %v, want %d: %v", len(got), within, want, got)
		}
	}
}

// U-07, U-08, U-09, U-13, R-38: what the routers of two homes make possible, and
// that nothing of it is left.
func TestRAThroughRouters(t *testing.T) {
	if os.Getenv(inLab) == "" {
		t.Skip("TestRAMapped runs it, inside the namespaces")
	}
	w := newTown(t)
	const symmetric = "symmetric"
	ends := func(t *testing.T, p *raPair) {
		p.user.types("/stop")
		p.user.ends(exitOK)
		p.helper.ends(exitOK)
	}
	for _, tt := range []struct {
		name         string
		user, helper *mappedHome
		run          func(t *testing.T, p *raPair, user, helper *mappedHome)
	}{
		{"PCP", w.mapped(symmetric, "pcp-only"), w.mapped(symmetric, "none"), func(t *testing.T, p *raPair, user, _ *mappedHome) {
			p.control()
			user.opens(t, 1, 0)
			for _, q := range user.igd.Router.Requests() {
				if q.Transport != 0 && q.Lifetime != raLease {
					t.Errorf("asked: %v", q)
				}
			}
			p.user.hasSaid("Address      mapped 198.51.100.")
			p.helper.hasSaid("mapped 198.51.100.")
			ends(t, p)
			user.opens(t, 0, patience)
			// Not the Helper's: whoever ends while a mute router is asked leaves a note.
			if left, _ := filepath.Glob(filepath.Join(p.dir, "state/user/shipworm/mappings/*")); len(left) > 0 {
				t.Errorf("the journal still has %v", left)
			}
		}},
		{"UPnP", w.mapped(symmetric, "upnp-only"), w.mapped(symmetric, "none"), func(t *testing.T, p *raPair, user, _ *mappedHome) {
			p.share()
			user.opens(t, 1, 0)
			ends(t, p)
			user.opens(t, 0, patience)
		}},
		{"at the helper's alone", w.mapped(symmetric, "none"), w.mapped(symmetric, "miniupnpd"), func(t *testing.T, p *raPair, _, helper *mappedHome) {
			p.share()
			helper.opens(t, 1, 0)
			ends(t, p)
			helper.opens(t, 0, patience)
		}},
		{"nowhere", w.mapped(symmetric, "none"), w.mapped(symmetric, "none"), func(t *testing.T, p *raPair, _, _ *mappedHome) {
			p.invite()
			p.open()
			if err := p.helper.ends(exitNegative); !strings.Contains(err, "\nshipworm: ra open: no answer from [2001:0:cb00:7101:") {
				t.Error(err)
			}
			p.user.cmd.Process.Signal(os.Interrupt)
			p.user.ends(exitInterrupted)
		}},
		{"a router that lies", w.mapped("port-restricted", "deaf"), w.mapped("port-restricted", "none"), func(t *testing.T, p *raPair, _, _ *mappedHome) {
			p.share() // by Teredo
			p.helper.hasSaid("mapped 198.51.100.")
			ends(t, p)
		}},
		{"behind another NAT", w.mapped("port-restricted", "external-private"), w.mapped("port-restricted", "none"), func(t *testing.T, p *raPair, user, _ *mappedHome) {
			p.invite()
			if s := p.user.said(); strings.Contains(s, " mapped ") {
				t.Error(s)
			}
			user.opens(t, 0, patience)
			p.user.types("/stop")
			p.user.ends(exitOK)
			if s := p.user.err.String(); !strings.Contains(s, "without mapped: the router opens a port, but its address") {
				t.Error(s)
			}
		}},
		{"the router restarts in the session", w.mapped("port-restricted", "miniupnpd"), w.mapped(symmetric, "none"), func(t *testing.T, p *raPair, user, _ *mappedHome) {
			p.share()
			before := user.open()
			must(t, user.igd.Server.Reboot())
			user.opens(t, 1, patience)
			if after := user.open(); before[0].External != after[0].External {
				t.Errorf("%v is open again, want %v", after[0].External, before[0].External)
			}
			p.user.types("still there?")
			p.helper.wait("still there?")
			ends(t, p)
			user.opens(t, 0, patience)
		}},
		{"interrupted while inviting", w.mapped(symmetric, "upnp-only"), nil, func(t *testing.T, p *raPair, user, _ *mappedHome) {
			p.invite()
			user.opens(t, 1, 0)
			p.user.cmd.Process.Signal(syscall.SIGTERM)
			p.user.ends(exitInterrupted)
			user.opens(t, 0, 0)
		}},
		{"killed, and started again", w.mapped(symmetric, "miniupnpd"), nil, func(t *testing.T, p *raPair, user, _ *mappedHome) {
			p.invite()
			user.opens(t, 1, 0)
			old := user.open()[0].External
			p.user.killAll()
			user.opens(t, 1, 0)
			p.invite()
			user.opens(t, 1, patience)
			if now := user.open()[0].External; now == old {
				t.Errorf("%v of the first run is still open", now)
			}
			p.user.types("/stop")
			p.user.ends(exitOK)
			user.opens(t, 0, 0)
		}},
		{"killed, and tidied up by who watches", w.mapped(symmetric, "miniupnpd"), nil, func(t *testing.T, p *raPair, user, _ *mappedHome) {
			p.invite()
			user.opens(t, 1, 0)
			p.user.cmd.Process.Kill()
			p.user.ends(anyCode)
			user.opens(t, 0, patience)
		}},
		{"switched off", w.mapped(symmetric, "miniupnpd"), nil, func(t *testing.T, p *raPair, user, _ *mappedHome) {
			p.atUser.flags = append(p.atUser.flags, "--no-upnp")
			p.invite()
			p.user.types("/stop")
			p.user.ends(exitOK)
			if asked := user.igd.Router.Requests(); len(asked) > 0 {
				t.Errorf("the router was asked: %v", asked)
			}
		}},
		{"on a public network", w.mapped("port-restricted", "miniupnpd"), w.mapped("port-restricted", "miniupnpd"), func(t *testing.T, p *raPair, _, helper *mappedHome) {
			p.atHelper.flags = append(p.atHelper.flags, "--network", "public")
			p.share()
			ends(t, p)
			if asked := helper.igd.Router.Requests(); len(asked) > 0 {
				t.Errorf("the router was asked: %v", asked)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, w.bin, w.display)
			p.atUser = tt.user.at
			if tt.helper != nil {
				p.atHelper = tt.helper.at
			}
			tt.run(t, p, tt.user, tt.helper)
			p.left()
		})
	}
}

// killAll kills the process and the one that it watches, with no chance for
// either to tidy up after the other.
func (s *side) killAll() {
	s.t.Helper()
	must(s.t, s.cmd.Process.Signal(syscall.SIGSTOP))
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.cmd.Process.Pid))
	must(s.t, err)
	for _, name := range threads {
		b, err := os.ReadFile(name)
		must(s.t, err)
		for _, f := range strings.Fields(string(b)) {
			child, err := strconv.Atoi(f)
			must(s.t, err)
			must(s.t, syscall.Kill(child, syscall.SIGKILL))
		}
	}
	must(s.t, s.cmd.Process.Kill())
	s.ends(anyCode)
}

// hasSaid checks that a side has said something by now.
func (s *side) hasSaid(text string) {
	s.t.Helper()
	if got := s.said(); !strings.Contains(got, text) {
		s.t.Errorf("%q was not said:\n%s", text, got)
	}
}

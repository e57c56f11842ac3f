//go:build lab && linux

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"shipworm/ra/sessionlog"
	"shipworm/testnet/lab"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
)

// TestRAHomes runs TestRAInHomes inside the namespaces.
func TestRAHomes(t *testing.T) {
	t.Parallel()
	runInLab(t, "TestRAInHomes")
}

// runInLab runs a test of this package inside the namespaces.
func runInLab(t *testing.T, name string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+name+"$", "-test.v", "-test.timeout=10m", fmt.Sprint("-update=", *updateGolden))
	cmd.Env = append(os.Environ(), inLab+"=1", "SHIPWORM_BIN="+shipworm(t))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+name+"/") {
		t.Errorf("%v\n%s", err, out)
	}
}

// town is a server and homes behind NATs.
type town struct {
	t       *testing.T
	lab     *lab.Lab
	bin     string
	display string
	server  string
	homes   byte
}

// newTown starts a Teredo server and a display.
func newTown(t *testing.T) *town {
	t.Helper()
	l, err := lab.New(lab.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.CloseAfter(t)
	first, second := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")
	host, err := l.Host("server", link.Config{}, first, second)
	if err != nil {
		t.Fatal(err)
	}
	w := &town{t: t, lab: l, bin: shipworm(t), server: first.String()}
	server := host.Command(context.Background(), w.bin, "teredo", "server", "--listen", first.String(), "--listen", second.String())
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	if err := host.WaitReady(t.Context(), "udp", 3544); err != nil {
		t.Fatal(err)
	}
	w.display, _ = newDesktop(t)
	return w
}

var line = link.Config{Delay: 5 * time.Millisecond}

func (w *town) home(kind string) (*lab.Router, place) {
	w.t.Helper()
	w.homes++
	cfg, ok := nat.Profile(kind)
	if !ok {
		w.t.Fatalf("no NAT %q", kind)
	}
	cfg.External = []netip.Addr{netip.AddrFrom4([4]byte{198, 51, 100, w.homes})}
	r, err := w.lab.Router(fmt.Sprint("router", w.homes), cfg, line)
	if err != nil {
		w.t.Fatal(err)
	}
	h, err := r.Host(fmt.Sprint("home", w.homes), link.Config{}, netip.MustParseAddr("192.168.1.2"))
	if err != nil {
		w.t.Fatal(err)
	}
	return r, place{h.Do, []string{"--server", w.server}}
}

// cut lets nothing through a router any more.
func cut(r *lab.Router) error {
	return r.Change(func(r *sim.Router) error { return r.SetLink(link.Config{Loss: 1}) })
}

// RR-01, C-06: what goes wrong between two homes ends in time, with one line
// and the right exit code on both sides, and the logs say so.
func TestRAInHomes(t *testing.T) {
	if os.Getenv(inLab) == "" {
		t.Skip("TestRAHomes runs it, inside the namespaces")
	}
	w := newTown(t)
	const (
		closed, lost = sessionlog.InvitationClosed, sessionlog.ConnectionLost
		off          = sessionlog.ExpertControlEnded
		noServer     = "UDP to port 3544 may be blocked on the way"
	)
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, p *raPair, user, helper *lab.Router)
	}{
		{"the helper's line is cut in control", func(t *testing.T, p *raPair, user, helper *lab.Router) {
			p.control()
			must(t, cut(helper))
			bothLost(t, p)
			p.logEnds("user", off, lost, closed)
			p.logEnds("helper", off, lost)
		}},
		{"the user's line is cut", func(t *testing.T, p *raPair, user, helper *lab.Router) {
			p.share()
			must(t, cut(user))
			bothLost(t, p)
			p.logEnds("user", lost, closed)
			p.logEnds("helper", lost)
		}},
		{"the user's line is cut at the question", func(t *testing.T, p *raPair, user, helper *lab.Router) {
			p.connect()
			must(t, cut(user))
			bothLost(t, p)
			p.logEnds("user", lost, closed)
			p.logEnds("helper", lost)
		}},
		{"the user's line is cut before the helper comes", func(t *testing.T, p *raPair, user, helper *lab.Router) {
			p.invite()
			must(t, cut(user))
			p.open()
			err := p.helper.ends(exitNegative)
			if !strings.Contains(err, "\nshipworm: ra open: no answer from [2001:0:cb00:7101:") {
				t.Error(err)
			}
			p.logEnds("helper", sessionlog.InvitationOpened, sessionlog.ConnectionFailed)
			p.user.cmd.Process.Signal(os.Interrupt)
			p.user.ends(exitInterrupted)
			p.logEnds("user", sessionlog.InvitationOpened, closed)
		}},
		{"the user's server does not answer", func(t *testing.T, p *raPair, user, helper *lab.Router) {
			must(t, cut(user))
			p.user = p.start(p.atUser, "Alice", "user", "ra", "invite")
			if err := p.user.ends(exitNegative); !strings.Contains(err, noServer) {
				t.Error(err)
			}
		}},
		{"the helper's server does not answer", func(t *testing.T, p *raPair, user, helper *lab.Router) {
			p.invite()
			must(t, cut(helper))
			p.open()
			if err := p.helper.ends(exitNegative); !strings.Contains(err, noServer) {
				t.Error(err)
			}
			p.user.types("/stop")
			p.user.ends(exitOK)
		}},
		{"the disk of the user's log is full", func(t *testing.T, p *raPair, user, helper *lab.Router) {
			dir := filepath.Join(p.dir, "user")
			must(t, os.Mkdir(dir, 0o700))
			must(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4k"))
			defer syscall.Unmount(dir, syscall.MNT_DETACH)
			p.share()
			for range 4 {
				p.helper.types(strings.Repeat("x", 1500))
			}
			p.user.wait("The session log cannot be written: ")
			p.user.types("do you still hear me?")
			p.helper.wait("do you still hear me?")
			p.user.types("/stop")
			p.user.ends(exitOK)
			p.helper.ends(exitOK)
			p.logEnds("user", sessionlog.ChatMessage)
			p.logEnds("helper", sessionlog.ConnectionEnded)
		}},
	} {
		user, atUser := w.home("port-restricted")
		helper, atHelper := w.home("port-restricted")
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, w.bin, w.display)
			p.atUser, p.atHelper = atUser, atHelper
			tt.run(t, p, user, helper)
			p.left()
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func bothLost(t *testing.T, p *raPair) {
	t.Helper()
	p.user.ends(exitFailure)
	p.helper.ends(exitFailure)
	p.user.told("ra invite: connection lost")
	p.helper.told("ra open: connection lost")
}

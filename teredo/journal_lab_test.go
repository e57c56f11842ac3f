//go:build lab && linux

package teredo

import (
	"context"
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
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

// mappedHome is a home whose router opens ports.
func (s *street) mappedHome(profile string) (*lab.Host, func() []nat.PortForward) {
	s.t.Helper()
	cfg, _ := nat.Profile("port-restricted")
	cfg.External = []netip.Addr{netip.MustParseAddr("198.51.100.10")}
	r, err := s.lab.Router("router", cfg, s.line)
	if err != nil {
		s.t.Fatal(err)
	}
	h, err := r.Host("home", link.Config{}, netip.MustParseAddr("192.168.1.2"))
	if err != nil {
		s.t.Fatal(err)
	}
	p, ok := igd.Lookup(profile)
	if !ok {
		s.t.Fatalf("no router %q", profile)
	}
	d, err := install.Lab(r, netip.MustParseAddr("192.168.1.1"), "gateway", p, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.keep(d.Server.Run)
	return h, func() (list []nat.PortForward) {
		s.t.Helper()
		if err := r.NAT(func(n *nat.NAT) error { list = n.Forwards(); return nil }); err != nil {
			s.t.Fatal(err)
		}
		return list
	}
}

// keep runs f until the test ends, and waits for it then.
func (s *street) keep(f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = f(ctx) })
	s.t.Cleanup(func() { cancel(); running.Wait() })
}

// A client of root's with --tun, which is nobody when it maps a port, writes
// that down nonetheless: who watches it gives the port back when it is killed,
// and the next one when both are. U-09 C-07
func TestTUNJournal(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	for _, profile := range []string{"miniupnpd", "pcp-only"} {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			s := newStreet(t)
			s.ourServer("--listen", primary.String())
			home, forwards := s.mappedHome(profile)
			opens := func(want int) {
				t.Helper()
				for end := time.Now().Add(patience); len(forwards()) != want; time.Sleep(20 * time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("%d ports are open, want %d", len(forwards()), want)
					}
				}
			}
			dir := filepath.Join(s.runtimeDir(home), "mappings-nobody")
			journal := func() int {
				files, err := os.ReadDir(dir)
				if err != nil {
					t.Fatal(err)
				}
				return len(files)
			}
			child := func(p *process) int {
				t.Helper()
				pid, err := strconv.Atoi(s.must(home, "pgrep -P "+strconv.Itoa(p.cmd.Process.Pid)))
				if err != nil {
					t.Fatal(err)
				}
				return pid
			}

			p, _ := s.client(home, "--tun", "teredo")
			opens(1)
			if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 || info.Sys().(*syscall.Stat_t).Uid != 65534 || journal() != 1 {
				t.Errorf("the journal: %v, %v, %d entries", info, err, journal())
			}
			if err := syscall.Kill(child(p), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			opens(0)
			if _ = p.stop(0); p.cmd.ProcessState.ExitCode() != 70 || !strings.Contains(p.stderr.String(), "what it held was given back") || journal() != 0 {
				t.Errorf("exit code %d, %d entries\n%s", p.cmd.ProcessState.ExitCode(), journal(), &p.stderr)
			}

			p, _ = s.client(home, "--tun", "teredo")
			opens(1)
			old := forwards()[0].External
			killed := child(p)
			if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			_ = p.stop(syscall.SIGKILL)
			opens(1)

			p, _ = s.client(home, "--tun", "teredo")
			for end := time.Now().Add(patience); len(forwards()) != 1 || forwards()[0].External == old; time.Sleep(20 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("open are %v, at first %v", forwards(), old)
				}
			}
			p.end()
			opens(0)
			if n := journal(); n != 0 {
				t.Errorf("%d entries are left", n)
			}
		})
	}
}

//go:build lab && linux

package teredo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"shipworm/testnet/lab"
	"shipworm/testnet/sim"
)

// shell runs a command line on a host and returns what it printed.
func (s *street) shell(h *lab.Host, line string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := h.Command(ctx, "sh", "-c", line).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (s *street) must(h *lab.Host, line string) string {
	s.t.Helper()
	out, err := s.shell(h, line)
	if err != nil {
		s.t.Fatalf("%s: %s: %v\n%s", h.Name(), line, err, out)
	}
	return out
}

// end has the program end as an interrupted one does, and tells how long that
// took.
func (p *process) end() time.Duration {
	p.t.Helper()
	began := time.Now()
	err := p.stop(syscall.SIGTERM)
	took := time.Since(began)
	var exit *exec.ExitError
	if took > patience || !errors.As(err, &exit) || exit.ExitCode() != 130 {
		p.t.Errorf("it ended after %v: %v\n%s", took, err, &p.stderr)
	}
	return took
}

func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip("needs ", p, ": ", err)
		}
	}
}

// listening waits for a TCP listener on a host.
func (s *street) listening(h *lab.Host, port uint16) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.WaitReady(ctx, "tcp", port); err != nil {
		s.t.Fatal(err)
	}
}

// Programs that know nothing of Teredo reach a Teredo peer through the TUN
// device: curl, ping and iperf3. Nobody reaches what was not opened, and
// nothing is left when the client ends. T-25 T-34
func TestTUNPrograms(t *testing.T) {
	t.Parallel()
	needs(t, "curl", "ping", "iperf3", "python3")
	s := newStreet(t)
	s.ourServer("--listen", primary.String(), "--listen", secondary.String())
	a, b := s.home("port-restricted"), s.home("port-restricted")
	before := s.must(a, "ip -6 route show table all; ip -6 address; ip link")
	pa, qa := s.client(a, "--tun", "teredo")
	_, qb := s.client(b, "--tun", "teredo", "--open", "tcp/8000", "--open", "tcp/5201")

	s.start(b, "python3", "-m", "http.server", "--bind", "::", "--directory", t.TempDir(), "8000")
	s.start(b, "python3", "-m", "http.server", "--bind", "::", "--directory", t.TempDir(), "8001")
	s.start(b, "iperf3", "-s")
	for _, port := range []uint16{8000, 8001, 5201} {
		s.listening(b, port)
	}
	to := qb.Address.String()
	if out := s.must(a, "curl -sS -m 40 -o /dev/null -w '%{http_code}' 'http://["+to+"]:8000/'"); out != "200" {
		t.Errorf("curl printed %q", out)
	}
	t.Log(s.must(a, "ping -c 3 -i 0.2 -w 60 "+to))
	t.Log(s.must(a, "iperf3 -t 2 -c "+to+" | tail -n 4"))

	// The port that was not opened is silent, not refused; and so is every
	// port of the other side.
	for from, url := range map[*lab.Host]string{a: "http://[" + to + "]:8001/", b: "http://[" + qa.Address.String() + "]:22/"} {
		if out, err := s.shell(from, "curl -sS -m 2 '"+url+"'"); err == nil || !strings.Contains(out, "timed out") {
			t.Errorf("%s: %v %s", url, err, out)
		}
	}
	if out := s.must(a, "ip -6 address show dev teredo; ip link show teredo; ip -6 route show dev teredo"); !strings.Contains(out, "mtu 1280") ||
		!strings.Contains(out, qa.Address.String()+"/128") || strings.Contains(out, "fe80") || !strings.Contains(out, "2001::/32") {
		t.Errorf("the interface is\n%s", out)
	}
	pa.end()
	if after := s.must(a, "ip -6 route show table all; ip -6 address; ip link"); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
}

// A client that is killed leaves no interface and no route either, whichever of
// its processes is, and no process. TR-13
func TestTUNKilled(t *testing.T) {
	t.Parallel()
	for _, whom := range []string{"who watches", "the client"} {
		t.Run(whom, func(t *testing.T) {
			t.Parallel()
			s := newStreet(t)
			s.ourServer("--listen", primary.String())
			a := s.home("port-restricted")
			before := s.must(a, "ip -6 route show table all; ip -6 address; ip link; ip -6 rule")
			p, _ := s.client(a, "--tun", "teredo", "--default-route")
			if out := s.must(a, "ip -6 route show"); !strings.Contains(out, "default dev teredo") {
				t.Errorf("routes:\n%s", out)
			}
			watcher := strconv.Itoa(p.cmd.Process.Pid)
			client := s.must(a, "pgrep -P "+watcher)
			helper := s.must(a, "pgrep -P "+client)
			victim := map[string]string{"who watches": watcher, "the client": client}[whom]
			s.must(a, "kill -KILL "+victim)
			for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
				after := s.must(a, "ip -6 route show table all; ip -6 address; ip link; ip -6 rule")
				if after == before && !exists("/proc/"+client) && !exists("/proc/"+helper) {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("after kill -9:\n%s\nbefore:\n%s", after, before)
				}
			}
		})
	}
}

// processes lists those of a client on this host, and not the shell.
const processes = "pgrep --nslist net --ns $$ -f 'tered[o] (client|tun-helper)'"

// A packet with a foreign source that is routed into the device never reaches
// the tunnel, and its sender is told so. T-26
func TestTUNForeignSource(t *testing.T) {
	t.Parallel()
	needs(t, "ping")
	s := newStreet(t)
	s.ourServer("--listen", primary.String())
	a := s.home("port-restricted")
	s.client(a, "--tun", "teredo")
	s.must(a, "ip -6 address add 2001:db8::5/128 dev lo nodad")
	peer, _ := wireAddress(netip.MustParseAddr("2001:0:cb00:7101:0:ffff:39cc:9bf5"))
	out, err := s.shell(a, "ping -c 2 -i 0.2 -W 20 -I 2001:db8::5 "+peer.String())
	if err == nil || !strings.Contains(out, "Administratively prohibited") {
		t.Errorf("ping said: %v\n%s", err, out)
	}
}

// What somebody does to the interface by hand is put back within seconds, and
// nobody trips over it when another address comes. TR-02 TR-03
func TestTUNMeddled(t *testing.T) {
	t.Parallel()
	needs(t, "ping")
	s := newStreet(t)
	s.ourServer("--listen", primary.String())
	a, r := s.house("port-restricted")
	_, q := s.client(s.home("cone"), "--tun", "teredo")
	s.client(a, "--tun", "teredo", "--default-route")
	const settings = "ip -6 address show dev teredo; ip -6 route show dev teredo | grep 10000 || true"
	before := s.must(a, settings)
	const flush = "ip -6 address flush dev teredo"
	for _, meddle := range []string{flush, "ip -6 route flush dev teredo", "ip link set teredo down && ip link set teredo up"} {
		s.must(a, meddle)
		if s.must(a, settings) == before {
			t.Fatalf("%s did nothing", meddle)
		}
		for end := time.Now().Add(patience); s.must(a, settings) != before; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("after %s:\n%s\nbefore:\n%s", meddle, s.must(a, settings), before)
			}
		}
		s.must(a, "ping -c 1 -W 10 "+q.Address.String())
	}
	if err := r.Change(func(r *sim.Router) error { return r.SetExternal(netip.MustParseAddr("198.51.100.77")) }); err != nil {
		t.Fatal(err)
	}
	s.must(a, flush+"; ip address add 192.168.1.77/32 dev lo") // the latter is noticed at once
	renewed := fmt.Sprintf("%x:%x/128", ^uint16(198<<8|51), ^uint16(100<<8|77))
	for end := time.Now().Add(patience); !strings.Contains(s.must(a, settings), renewed); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no address that ends in %s:\n%s", renewed, s.must(a, settings))
		}
	}
	s.must(a, "ping -c 1 -W 10 "+q.Address.String())
}

// statuses returns the lines of every thread's status that say who it is and
// what it may.
func statuses(t *testing.T, pid string) (all []string) {
	t.Helper()
	files, _ := filepath.Glob("/proc/" + pid + "/task/*/status")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // the thread ended
		}
		if err != nil {
			t.Fatal(err)
		}
		var s []string
		for line := range strings.Lines(string(b)) {
			key, value, _ := strings.Cut(line, ":")
			switch key {
			case "Uid", "CapPrm", "CapEff", "CapInh", "CapAmb", "CapBnd", "NoNewPrivs", "Groups":
				s = append(s, key+"="+strings.Join(strings.Fields(value), ","))
			}
		}
		all = append(all, strings.Join(s, " "))
	}
	if len(all) == 0 {
		t.Fatalf("process %s has no threads", pid)
	}
	return all
}

// The process that reads what strangers send has no privilege left in any
// thread, nor has the one that watches it, its helper has one; a new Teredo address reaches the interface all the
// same, and both end with nothing left behind. C-02 TR-02
// TR-03 TR-13
func TestTUNConfined(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	s := newStreet(t)
	s.ourServer("--listen", primary.String())
	a, r := s.house("port-restricted")
	p, q := s.client(a, "--tun", "teredo")
	watcher := strconv.Itoa(p.cmd.Process.Pid)
	pid := s.must(a, "pgrep -P "+watcher)
	helper := s.must(a, "pgrep -P "+pid)
	const none, nobody = "0000000000000000", "65534,65534,65534,65534"
	const nothing = " CapInh=" + none + " CapPrm=" + none + " CapEff=" + none + " CapBnd=" + none + " CapAmb=" + none + " NoNewPrivs=1"
	for _, st := range statuses(t, pid) {
		if want := "Uid=" + nobody + " Groups=" + nothing; st != want {
			t.Errorf("a thread of the client has\n%s, want\n%s", st, want)
		}
	}
	for _, st := range statuses(t, watcher) {
		if want := "Uid=" + nobody + " Groups=" + nothing; st != want {
			t.Errorf("a thread of the watcher has\n%s, want\n%s", st, want)
		}
	}
	const netAdmin = "0000000000001000"
	helpers := func() (wrong []string) {
		return slices.DeleteFunc(statuses(t, helper), func(st string) bool {
			return strings.Contains(st, "CapPrm="+netAdmin+" CapEff="+netAdmin+" CapBnd="+none) && strings.Contains(st, "NoNewPrivs=1")
		})
	}
	for end := time.Now().Add(patience); len(helpers()) > 0; time.Sleep(20 * time.Millisecond) { // nobody waits for it
		if time.Now().After(end) {
			t.Fatalf("threads of the helper have\n%s", strings.Join(helpers(), "\n"))
		}
	}
	if stdout, stderr, code := s.run(a, "teredo", "show"); code != 0 || !strings.Contains(stdout, "qualified") {
		t.Errorf("show: exit code %d\n%s%s", code, stdout, stderr)
	}

	// The provider gives the router another address; an address of the host
	// changes at the same time, which the client notices at once.
	if err := r.Change(func(r *sim.Router) error { return r.SetExternal(netip.MustParseAddr("198.51.100.77")) }); err != nil {
		t.Fatal(err)
	}
	s.must(a, "ip address add 192.168.1.77/32 dev lo")
	began := time.Now()
	for {
		out := s.must(a, "ip -6 address show dev teredo")
		if !strings.Contains(out, q.Address.String()+"/") && strings.Contains(out, "inet6 2001:") {
			break
		}
		if time.Since(began) > patience {
			t.Fatalf("the interface still has\n%s", out)
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("another address after %v", time.Since(began))

	p.end()
	if socket := filepath.Join(s.runtimeDir(a), "shipworm", "teredo.sock"); exists(socket) || exists("/proc/"+helper) {
		t.Errorf("left behind: socket %v, helper %v", exists(socket), exists("/proc/"+helper))
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// A hundred clients one after the other leave nothing, and most end within
// seconds whatever else the machine does. TR-13
func TestTUNCycles(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	s.ourServer("--listen", primary.String())
	a := s.home("port-restricted")
	before := s.must(a, "ip link; ip -6 route show table all")
	var took []time.Duration
	for range 100 {
		p, _ := s.client(a, "--tun", "teredo")
		took = append(took, p.end())
		if t.Failed() {
			return
		}
	}
	slices.Sort(took)
	t.Logf("ended after %v, most %v, at worst %v", took[0], took[50], took[99])
	if took[50] > 5*time.Second {
		t.Error("they take long to end")
	}
	after := s.must(a, "ip link; ip -6 route show table all")
	if after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
	if out, err := s.shell(a, processes); err == nil {
		t.Errorf("processes left: %s", out)
	}
}

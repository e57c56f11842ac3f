//go:build lab && linux

package teredo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"shipworm/testnet/lab"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

func enterLab() (inside bool, code int) {
	// The tests wait more than they compute. The command line wins.
	if err := flag.Set("test.parallel", fmt.Sprint(max(4, runtime.GOMAXPROCS(0)))); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	inside, code, err := lab.Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return false, max(code, 1)
	}
	syscall.Umask(0o022) // some of what the tests make is for nobody
	return inside, code
}

// built is the folder of the binary that shipwormBinary built, "" before.
var built string

func leaveLab() { os.RemoveAll(built) }

// shipwormBinary builds the release binary once, unless SHIPWORM_BIN names it.
var shipwormBinary = sync.OnceValues(func() (string, error) {
	if s := os.Getenv("SHIPWORM_BIN"); s != "" {
		return s, nil
	}
	dir, err := os.MkdirTemp("", "shipworm-lab")
	if err != nil {
		return "", err
	}
	built = dir
	bin := filepath.Join(dir, "shipworm")
	cmd := exec.Command("go", "build", "-o", bin, "shipworm/cmd/shipworm")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return bin, nil
})

// publicDir makes a directory, with a short name, that those can enter who
// become nobody: TMPDIR may be its owner's alone.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "shipworm-lab")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// patience is what a wait in vain may take: a machine may be slow, or stand
// still for seconds, and nothing be wrong with the program.
const patience = time.Minute

// street is a laboratory with a server on the Internet and homes behind NATs.
type street struct {
	t      *testing.T
	lab    *lab.Lab
	server *lab.Host
	homes  int
	line   link.Config
	dir    string // with a short name: sockets are in it
}

func newStreet(t *testing.T) *street {
	l, err := lab.New(lab.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	s := &street{t: t, lab: l, line: link.Config{Delay: 5 * time.Millisecond}}
	l.CloseAfter(t)
	s.dir = publicDir(t)
	if s.server, err = l.Host("server", s.line, primary, secondary); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *street) home(profile string) *lab.Host {
	s.t.Helper()
	h, _ := s.house(profile)
	return h
}

// house is a home with its router.
func (s *street) house(profile string) (*lab.Host, *lab.Router) {
	s.t.Helper()
	s.homes++
	cfg, ok := nat.Profile(profile)
	if !ok {
		s.t.Fatalf("no NAT profile %q", profile)
	}
	cfg.External = []netip.Addr{netip.AddrFrom4([4]byte{198, 51, 100, byte(10 * s.homes)})}
	r, err := s.lab.Router(fmt.Sprint("router", s.homes), cfg, s.line)
	if err != nil {
		s.t.Fatal(err)
	}
	h, err := r.Host(fmt.Sprint("home", s.homes), link.Config{}, netip.MustParseAddr("192.168.1.2"))
	if err != nil {
		s.t.Fatal(err)
	}
	return h, r
}

// process is a program that runs in the laboratory.
type process struct {
	t      *testing.T
	cmd    *lab.Cmd
	lines  chan string
	stderr bytes.Buffer
	once   sync.Once
	err    error
}

// start runs a program in the background; it is stopped when the test ends.
func (s *street) start(h *lab.Host, name string, args ...string) *process {
	s.t.Helper()
	p := &process{t: s.t, lines: make(chan string, 1000)}
	p.cmd = h.Command(context.Background(), name, args...)
	p.cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+s.runtimeDir(h), "STATE_DIRECTORY="+s.runtimeDir(h))
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			p.lines <- sc.Text()
		}
	}()
	s.t.Cleanup(func() {
		p.stop(syscall.SIGKILL)
		if s.t.Failed() && p.stderr.Len() > 0 {
			s.t.Logf("%s on %s:\n%s", name, h.Name(), &p.stderr)
		}
	})
	return p
}

// stop sends a signal and returns how the program ended.
func (p *process) stop(sig syscall.Signal) error {
	p.once.Do(func() {
		_ = p.cmd.Process.Signal(sig)
		for range p.lines {
		}
		p.err = p.cmd.Wait()
	})
	return p.err
}

// runtimeDir is a directory for control sockets, each host its own: hosts
// share the file system.
func (s *street) runtimeDir(h *lab.Host) string {
	s.t.Helper()
	dir := filepath.Join(s.dir, h.Name())
	if err := os.MkdirAll(dir, 0o777); err != nil {
		s.t.Fatal(err)
	}
	return dir
}

func (s *street) shipworm(h *lab.Host, args ...string) *process {
	s.t.Helper()
	bin, err := shipwormBinary()
	if err != nil {
		s.t.Fatal(err)
	}
	return s.start(h, bin, args...)
}

// run runs our program to its end.
func (s *street) run(h *lab.Host, args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	p := s.shipworm(h, args...)
	var out bytes.Buffer
	for l := range p.lines {
		fmt.Fprintln(&out, l)
	}
	err := p.stop(syscall.SIGKILL)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		s.t.Fatal(err)
	}
	return out.String(), p.stderr.String(), code
}

// qualified is a line of teredo client --json.
type qualified struct {
	Event   string         `json:"event"`
	Address Address        `json:"address"`
	Local   netip.AddrPort `json:"local"`
	Mapped  netip.AddrPort `json:"mapped"`
	AfterMS float64        `json:"after_ms"`
}

// client starts our client and waits for its address, on its interface too.
func (s *street) client(h *lab.Host, args ...string) (*process, qualified) {
	s.t.Helper()
	p := s.shipworm(h, append([]string{"teredo", "client", "--json", "--server", primary.String()}, args...)...)
	select {
	case line, ok := <-p.lines:
		var q qualified
		if !ok || json.Unmarshal([]byte(line), &q) != nil || q.Event != "qualified" || !q.Address.IsValid() {
			s.t.Fatalf("the client said %q and ended: %v\n%s", line, p.stop(syscall.SIGKILL), &p.stderr)
		}
		if slices.Contains(args, "--tun") {
			q = s.settled(h, p, q)
		}
		return p, q
	case <-time.After(patience):
		s.t.Fatal("the client did not qualify")
	}
	panic("unreachable")
}

// settled waits until the kernel uses the client's address, which is a moment
// later, and may be another by then: a solicitation that the client repeated,
// since the machine was slow, has another mapping of a symmetric NAT.
func (s *street) settled(h *lab.Host, p *process, q qualified) qualified {
	s.t.Helper()
	for end := time.Now().Add(patience); !strings.Contains(s.must(h, "ip -6 route show table local"), "local "+q.Address.String()+" "); time.Sleep(20 * time.Millisecond) {
		select {
		case line := <-p.lines:
			var next qualified
			if json.Unmarshal([]byte(line), &next) == nil && next.Event == "qualified" {
				q = next
			}
		default:
		}
		if time.Now().After(end) {
			s.t.Fatalf("%s: %v is not on the interface\n%s", h.Name(), q.Address, &p.stderr)
		}
	}
	return q
}

// ourServer starts our server and waits until it serves.
func (s *street) ourServer(args ...string) *process {
	s.t.Helper()
	p := s.shipworm(s.server, append([]string{"teredo", "server"}, args...)...)
	s.waitReady(s.server, Port)
	return p
}

func (s *street) waitReady(h *lab.Host, port uint16) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.WaitReady(ctx, "udp", port); err != nil {
		s.t.Fatal(err)
	}
}

// miredo starts a program of Debian's Miredo.
func (s *street) miredo(h *lab.Host, program, config string) {
	s.t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		s.t.Skip("needs Miredo: ", err)
	}
	if os.Geteuid() != 0 {
		s.t.Skip("Miredo needs root")
	}
	dir := s.t.TempDir()
	file := filepath.Join(dir, "conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		s.t.Fatal(err)
	}
	// It keeps children of its own, which only the supervisor can end.
	p := s.start(h, program, "-f", "-c", file, "-p", filepath.Join(dir, "pid"), "-u", program)
	s.t.Cleanup(func() { p.stop(syscall.SIGTERM) })
}

func (s *street) miredoServer() {
	s.t.Helper()
	s.miredo(s.server, "miredo-server", fmt.Sprintf("ServerBindAddress %v\nServerBindAddress2 %v\n", primary, secondary))
	s.waitReady(s.server, Port)
}

// miredoClient starts Miredo's client and waits for its address and route.
func (s *street) miredoClient(h *lab.Host) netip.Addr {
	s.t.Helper()
	s.miredo(h, "miredo", fmt.Sprintf("RelayType client\nInterfaceName teredo\nServerAddress %v\nBindPort 3610\n", primary))
	address := regexp.MustCompile(`inet6 (2001:0:[0-9a-f:]+)/`)
	end := time.Now().Add(patience)
	for time.Now().Before(end) {
		// Its hook adds the route last, and the kernel takes a moment to use an
		// address.
		out, _ := h.Command(context.Background(), "sh", "-c", "ip -6 address show dev teredo && ip -6 route show default dev teredo").CombinedOutput()
		ready := bytes.Contains(out, []byte("\ndefault ")) && !bytes.Contains(out, []byte(" tentative"))
		if m := address.FindSubmatch(out); m != nil && ready {
			return netip.MustParseAddr(string(m[1]))
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.t.Fatalf("%s: Miredo got no Teredo address or route", h.Name())
	panic("unreachable")
}

// wireAddress is ip as a Teredo address.
func wireAddress(ip netip.Addr) (Address, bool) {
	a, err := ParseAddress(ip.String())
	return a, err == nil
}

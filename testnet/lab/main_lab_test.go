//go:build lab && linux

package lab_test

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"shipworm/internal/leak"
	"shipworm/testnet/lab"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

var (
	server1 = netip.MustParseAddr("203.0.113.1")
	server2 = netip.MustParseAddr("203.0.113.2")
	outside = netip.MustParseAddr("198.51.100.10")
	inside  = netip.MustParseAddr("192.168.1.2")
)

// scenario is what a nested run of this binary does instead of its tests.
const scenario = "SHIPWORM_LAB_SCENARIO"

// L-06: the tests run inside the namespaces, and leave no goroutine.
func TestMain(m *testing.M) {
	inside, code, err := lab.Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if !inside || err != nil {
		os.Exit(code)
	}
	switch os.Getenv(scenario) {
	case "linger":
		linger()
	case "ping":
		os.Exit(pingOnce())
	default:
		goleak.VerifyTestMain(leak.Patient(m))
	}
}

// linger builds a laboratory with programs that do not want to end, says so,
// and waits to be killed.
func linger() {
	l, home, server := mustBuild("port-restricted", link.Config{})
	_ = l.Router
	for _, h := range []*lab.Host{home, server} {
		for _, sh := range []string{"trap '' TERM; sleep 4711", "setsid sleep 4711 &"} {
			if err := h.Command(context.Background(), "sh", "-c", sh).Start(); err != nil {
				panic(err)
			}
		}
	}
	fmt.Println("ready")
	select {}
}

func pingOnce() int {
	l, home, _ := mustBuild("symmetric", link.Config{})
	defer l.Close()
	cmd := home.Command(context.Background(), "ping", "-c1", "-W20", "server")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func mustBuild(profile string, line link.Config) (*lab.Lab, *lab.Host, *lab.Host) {
	l, home, server, err := build(profile, line)
	if err != nil {
		panic(err)
	}
	return l, home, server
}

// build makes the laboratory of most tests: one home, one server.
func build(profile string, line link.Config) (l *lab.Lab, home, server *lab.Host, err error) {
	cfg, ok := nat.Profile(profile)
	if !ok {
		return nil, nil, nil, fmt.Errorf("no profile %q", profile)
	}
	addr := inside
	if cfg.NoTranslation {
		addr = outside
	} else {
		cfg.External = []netip.Addr{outside}
	}
	if l, err = lab.New(lab.Config{Seed: 1}); err != nil {
		return nil, nil, nil, err
	}
	if server, err = l.Host("server", link.Config{}, server1, server2); err != nil {
		return l, nil, nil, err
	}
	router, err := l.Router("router", cfg, line)
	if err != nil {
		return l, nil, nil, err
	}
	home, err = router.Host("home", link.Config{}, addr)
	return l, home, server, err
}

// L-05: every test's network must have kept to the invariants.
func newLab(t testing.TB, profile string, line link.Config) (*lab.Lab, *lab.Host, *lab.Host) {
	t.Helper()
	l, home, server, err := build(profile, line)
	if l != nil {
		l.CloseAfter(t)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l, home, server
}

// output runs a program on a host and returns what it printed.
func output(t testing.TB, h *lab.Host, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := h.Command(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s on %s: %v\n%s", name, h.Name(), err, out)
	}
	return string(out)
}

func waitLine(t testing.TB, f *os.File, want string) {
	t.Helper()
	s := bufio.NewScanner(f)
	for s.Scan() {
		if s.Text() == want {
			return
		}
		t.Log(s.Text())
	}
	t.Fatalf("never printed %q", want)
}

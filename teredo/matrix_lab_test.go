//go:build lab && linux

package teredo

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"shipworm/testnet/igd"
	"shipworm/testnet/igd/install"
	"shipworm/testnet/lab"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
)

// kinds are the NATs of RFC 6081, figure 1, in its order.
var kinds = []struct{ name, profile string }{
	{"Cone", "cone"}, {"AR", "address-restricted"}, {"PR", "port-restricted"},
	{"UPR", "upnp-port-restricted"}, {"UPS", "upnp-symmetric"},
	{"PPS", "symmetric-first"}, {"SQS", "symmetric-sequential"}, {"PS", "symmetric"}, {"AS", "symmetric-pooled"},
}

// resident is a client at home behind a NAT of a kind.
type resident struct {
	*lab.Host
	router string
	addr   string
}

// kindHome makes a home behind a NAT of a kind, whose router speaks UPnP if the
// kind has forwards, and starts a client there.
func (s *street) kindHome(profile string) *resident {
	s.t.Helper()
	s.homes++
	cfg, ok := nat.Profile(profile)
	if !ok {
		s.t.Fatalf("no NAT profile %q", profile)
	}
	external := netip.AddrFrom4([4]byte{198, 51, 100, byte(2 * s.homes)})
	cfg.External = []netip.Addr{external}
	if cfg.ArbitraryPooling { // a pool
		cfg.External = append(cfg.External, external.Next())
	}
	n := &resident{router: fmt.Sprint("router", s.homes)}
	r, err := s.lab.Router(n.router, cfg, s.line)
	if err != nil {
		s.t.Fatal(err)
	}
	if n.Host, err = r.Host(fmt.Sprint("home", s.homes), link.Config{}, netip.MustParseAddr("192.168.1.2")); err != nil {
		s.t.Fatal(err)
	}
	if cfg.Forwarding {
		s.upnp(r, fmt.Sprint("gateway", s.homes))
	}
	_, q := s.client(n.Host, "--server", primary.String()+","+secondary.String(), "--tun", "teredo")
	n.addr = q.Address.String()
	if cfg.Forwarding {
		s.forwarded(r)
	}
	return n
}

// upnp has the router open ports on demand.
func (s *street) upnp(r *lab.Router, name string) {
	s.t.Helper()
	p, _ := igd.Lookup("miniupnpd")
	d, err := install.Lab(r, netip.MustParseAddr("192.168.1.1"), name, p, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = d.Server.Run(ctx) })
	s.t.Cleanup(func() { cancel(); running.Wait() })
}

// forwarded waits until the router has a port open.
func (s *street) forwarded(r *lab.Router) {
	s.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		open := 0
		_ = r.NAT(func(n *nat.NAT) error { open = len(n.Forwards()); return nil })
		if open > 0 {
			return
		}
	}
	s.t.Fatal("no port forward")
}

// tally counts what the trace shows of each host and router.
type tally struct {
	mu      sync.Mutex
	sent    map[string]int            // by host
	dropped map[string]map[string]int // by router and reason
}

func (y *tally) reset() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.sent, y.dropped = map[string]int{}, map[string]map[string]int{}
}

func (y *tally) note(e sim.Event) {
	y.mu.Lock()
	defer y.mu.Unlock()
	switch e.Kind {
	case sim.Sent:
		y.sent[e.Node]++
	case sim.Dropped:
		if y.dropped[e.Node] == nil {
			y.dropped[e.Node] = map[string]int{}
		}
		y.dropped[e.Node][e.Reason]++
	}
}

// why is the reason that the routers gave most often.
func (y *tally) why(routers ...string) string {
	y.mu.Lock()
	defer y.mu.Unlock()
	var most string
	n := 0
	for _, r := range routers {
		for reason, k := range y.dropped[r] {
			if reason == "no socket on this port" {
				continue // it is about the router itself
			}
			if k > n || k == n && reason < most {
				most, n = reason, k
			}
		}
	}
	return most
}

// call pings once a second until an answer comes, and tells how long that took.
func (s *street) call(from *resident, to string, seconds int) (took time.Duration, ok bool) {
	out, _ := s.shell(from.Host, fmt.Sprintf("ping -6 -n -c 1 -w %d %s", seconds, to))
	m := regexp.MustCompile(`icmp_seq=(\d+) .*time=([0-9.]+) ms`).FindStringSubmatch(out)
	if m == nil {
		return 0, false
	}
	seq, _ := strconv.Atoi(m[1])
	ms, _ := strconv.ParseFloat(m[2], 64)
	return time.Duration(seq-1)*time.Second + time.Duration(ms*float64(time.Millisecond)), true
}

// The reach matrix of RFC 6081 with programs: nine clients behind a NAT of each
// kind ping nine others, each pair for the first time. What connects is what
// connects in virtual time. TR-07
func TestLabReach(t *testing.T) {
	t.Parallel()
	golden, err := os.ReadFile("engine/testdata/reach.golden")
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(string(golden), "\n")[3:]
	s := newStreet(t)
	s.ourServer("--listen", primary.String(), "--listen", secondary.String())
	var callers, called []*resident
	for _, k := range kinds {
		callers, called = append(callers, s.kindHome(k.profile)), append(called, s.kindHome(k.profile))
	}
	time.Sleep(3 * time.Second) // for the tests of the NATs
	var y tally
	y.reset()
	s.lab.SetTrace(y.note)
	defer s.lab.SetTrace(nil)

	var table [9][9]string
	var reasons strings.Builder
	connected := 0
	for round := range kinds {
		y.reset()
		var mu sync.Mutex
		var calls sync.WaitGroup
		for i := range kinds {
			calls.Go(func() {
				j := (i + round) % len(kinds)
				from, to := callers[i], called[j]
				expect, patience := strings.TrimSpace(rows[i][5+13*j:][:13]) != "x", 7
				if expect {
					patience = 20 // a machine may stall
				}
				took, ok := s.call(from, to.addr, patience)
				mu.Lock()
				defer mu.Unlock()
				pair := kinds[i].name + " to " + kinds[j].name
				if ok != expect {
					t.Errorf("%s: connected %v, in virtual time %v", pair, ok, expect)
				}
				if !ok {
					table[i][j] = "x"
					fmt.Fprintf(&reasons, "%s: %s\n", pair, y.why(from.router, to.router))
					return
				}
				connected++
				y.mu.Lock()
				table[i][j] = fmt.Sprintf("%d ms %d", took.Milliseconds(), y.sent[from.Name()]+y.sent[to.Name()])
				y.mu.Unlock()
			})
		}
		calls.Wait()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "time until the first answer and packets of both hosts; a row calls a column\n\n     ")
	for _, k := range kinds {
		fmt.Fprintf(&b, "%13s", k.name)
	}
	for i, k := range kinds {
		fmt.Fprintf(&b, "\n%-5s", k.name)
		for j := range kinds {
			fmt.Fprintf(&b, "%13s", table[i][j])
		}
	}
	t.Logf("%s\n\n%d of %d pairs connect\n\n%s", b.String(), connected, len(kinds)*len(kinds), reasons.String())
}

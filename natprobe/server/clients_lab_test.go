//go:build lab && linux

package server

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"shipworm/natprobe"
	"shipworm/natprobe/report"
	"shipworm/testnet/lab"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

// behaviours is what each client says about mapping and filtering.
const (
	independent = "endpoint independent"
	address     = "address dependent"
	port        = "address and port dependent"
)

// kinds is what three unmodified clients must say of the laboratory's NATs when
// they ask our server. Where one is wrong with every server, what it says is
// still pinned, with the reason:
//
//   - coturn's takes the second OTHER-ADDRESS for that of its first server; a
//     server that obeys RFC 5780, 6.1 then sends it back to where it came from,
//     and it finds address dependent mappings to depend on the port too;
//   - coturn's and pion's see a NAT where there is none: the one always, the
//     other since it compares with the wildcard address of its socket;
//   - Vovida's has one name for all mappings that depend on the destination, and
//     says nothing of the filter behind them.
var kinds = []struct {
	profile            string
	mapping, filtering string
	coturnMapping      string // where it differs
	vovida             string
}{
	{"cone", independent, independent, "", "Independent Mapping, Independent Filter, preserves ports, will hairpin"},
	{"address-restricted", independent, address, "", "Independent Mapping, Address Dependent Filter, preserves ports, will hairpin"},
	{"port-restricted", independent, port, "", "Independent Mapping, Port Dependent Filter, preserves ports, will hairpin"},
	{"symmetric", port, port, "", "Dependent Mapping, random port, no hairpin"},
	{"symmetric-address", address, address, port, "Dependent Mapping, random port, no hairpin"},
	{"symmetric-sequential", port, port, "", "Dependent Mapping, random port, no hairpin"},
	{"linux", independent, port, "", "Independent Mapping, Port Dependent Filter, preserves ports, no hairpin"},
	{"carrier", independent, independent, "", "Independent Mapping, Independent Filter, random port, will hairpin"},
	{"firewall", independent, port, "", "Firewall"},
	{"none", independent, independent, "", "Open"},
}

// TestClients has coturn's, Vovida's and pion's clients ask our server, of two
// addresses and of two hosts that act as one.
func TestClients(t *testing.T) {
	need(t, "turnutils_natdiscovery", "stun")
	pion := buildPion(t)
	for _, c := range []struct {
		name  string
		start func(*testing.T, *lab.Lab)
	}{
		{"two addresses", func(t *testing.T, l *lab.Lab) {
			h := addHost(t, l, "server", a1, a2)
			runOn(t, h, Config{Listen: []netip.Addr{a1, a2}})
		}},
		{"two hosts", startPair},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := lab.New(lab.Config{Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			l.CloseAfter(t)
			c.start(t, l)
			// All at a time: most of what the clients do is to wait.
			type asked struct{ coturn, vovida, pion func() string }
			all := make([]asked, len(kinds))
			for i, k := range kinds {
				home := addHome(t, l, k.profile, i)
				all[i] = asked{
					begin(t, home, "turnutils_natdiscovery", "-m", "-f", a1.String()),
					begin(t, home, "stun", a1.String()),
					begin(t, home, pion, "-server", a1.String()+":3478"),
				}
			}
			for i, k := range kinds {
				t.Run(k.profile+"/coturn", func(t *testing.T) {
					want := []string{k.mapping, k.filtering}
					if k.coturnMapping != "" {
						want[0] = k.coturnMapping
					}
					check(t, all[i].coturn, regexp.MustCompile(`NAT with (.*) (?:Mapping|Filtering)!`), want)
				})
				t.Run(k.profile+"/vovida", func(t *testing.T) {
					if out := all[i].vovida(); !strings.Contains(out, "Primary: "+k.vovida) {
						t.Errorf("want %q:\n%s", k.vovida, out)
					}
				})
				t.Run(k.profile+"/pion", func(t *testing.T) {
					check(t, all[i].pion, regexp.MustCompile(`NAT (?:mapping|filtering) behavior: (.*)`), []string{k.mapping, k.filtering})
				})
			}
		})
	}
}

func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s: %v", p, err)
		}
	}
}

func check(t *testing.T, output func() string, says *regexp.Regexp, want []string) {
	t.Helper()
	out := output()
	var got []string
	for _, m := range says.FindAllStringSubmatch(out, -1) {
		got = append(got, strings.ToLower(m[1]))
	}
	if !slices.Equal(got, want) {
		t.Errorf("says %q, want %q:\n%s", got, want, out)
	}
}

// TestProberAsksPair: our prober cannot tell two hosts that act as one from one
// host.
func TestProberAsksPair(t *testing.T) {
	l, err := lab.New(lab.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.CloseAfter(t)
	startPair(t, l)
	for i, k := range kinds {
		t.Run(k.profile, func(t *testing.T) {
			r := probe(t, addHome(t, l, k.profile, i))
			words := func(b report.Behavior) string { return strings.NewReplacer("-", " ").Replace(b.String()) }
			if words(r.Mapping) != k.mapping || words(r.Filtering) != k.filtering || r.Kind != report.RFC5780 {
				t.Errorf("%v, %v, %v: %v", r.Kind, r.Mapping, r.Filtering, r.Evidence)
			}
		})
	}
}

func probe(t *testing.T, h *lab.Host) *report.Report {
	t.Helper()
	p, err := natprobe.New(natprobe.Config{
		Servers: []netip.AddrPort{netip.AddrPortFrom(a1, DefaultPort)},
		Local:   h.Addr(),
		Listen: func(_ context.Context, local netip.AddrPort) (c net.PacketConn, err error) {
			err = h.Do(func() error { c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(local)); return err })
			return c, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestOtherTests: fragments and lifetimes by coturn's client, and a server of
// one address.
func TestOtherTests(t *testing.T) {
	need(t, "turnutils_natdiscovery")
	l, err := lab.New(lab.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.CloseAfter(t)
	runOn(t, addHost(t, l, "server", a1, a2), Config{Listen: []netip.Addr{a1, a2}})
	single := netip.MustParseAddr("198.51.100.3")
	runOn(t, addHost(t, l, "single", single), Config{Listen: []netip.Addr{single}})
	home := addHome(t, l, "port-restricted", 0)
	padded := begin(t, home, "turnutils_natdiscovery", "-m", "-P", a1.String())
	// The second request goes from another socket, with RESPONSE-PORT.
	alive := begin(t, home, "turnutils_natdiscovery", "-t", "-T", "1", a1.String())
	one := begin(t, home, "turnutils_natdiscovery", "-m", "-f", single.String())
	if out := padded(); !strings.Contains(out, "NAT with Endpoint Independent Mapping") {
		t.Errorf("padding:\n%s", out)
	}
	if out := alive(); strings.Count(out, "UDP reflexive addr") < 2 {
		t.Errorf("lifetime:\n%s", out)
	}
	if out := one(); !strings.Contains(out, "UDP reflexive addr: 198.51.100.10") || strings.Contains(out, "Other addr") || strings.Contains(out, "NAT with") {
		t.Errorf("one address:\n%s", out)
	}
}

// buildPion builds pion's example client from the module that we use.
func buildPion(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "stun-nat-behaviour")
	if out, err := exec.Command("go", "build", "-o", bin, "github.com/pion/stun/v3/cmd/stun-nat-behaviour").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return bin
}

// startPair runs two hosts that act as one, and waits until they know it.
func startPair(t *testing.T, l *lab.Lab) {
	key := bytes.Repeat([]byte{3}, 32)
	alive := make(chan bool, 10)
	for i, own := range []netip.Addr{a1, a2} {
		other := []netip.Addr{a2, a1}[i]
		runOn(t, addHost(t, l, "server-"+own.String(), own), Config{
			Listen: []netip.Addr{own}, OnPeer: func(up bool) { alive <- up },
			Peer: &Peer{Public: other, Addr: netip.AddrPortFrom(other, 0), Key: key},
		})
	}
	for range 2 {
		select {
		case up := <-alive:
			if !up {
				t.Fatal("a peer is gone")
			}
		case <-time.After(time.Minute):
			t.Fatal("the hosts do not find each other")
		}
	}
}

func runOn(t *testing.T, h *lab.Host, c Config) {
	t.Helper()
	ready, ended := make(chan struct{}), make(chan error, 1)
	c.OnReady = func() { close(ready) }
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() { ended <- h.Do(func() error { return s.Run(ctx) }) }()
	t.Cleanup(func() { stop(); <-ended })
	select {
	case <-ready:
	case err := <-ended:
		ended <- err
		t.Fatal(err)
	}
}

func addHost(t *testing.T, l *lab.Lab, name string, addrs ...netip.Addr) *lab.Host {
	t.Helper()
	h, err := l.Host(name, link.Config{Delay: time.Millisecond}, addrs...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func addHome(t *testing.T, l *lab.Lab, profile string, i int) *lab.Host {
	t.Helper()
	cfg, err := nat.ParseProfile(profile)
	if err != nil {
		t.Fatal(err)
	}
	external := netip.AddrFrom4([4]byte{198, 51, byte(100 + i), 10})
	addr := external
	if !cfg.NoTranslation {
		cfg.External = []netip.Addr{external}
		addr = netip.MustParseAddr("192.168.1.2")
	}
	// The prober waits for round trips: they are long beside what the servers and
	// a busy machine add to them.
	router, err := l.Router("router-"+profile, cfg, link.Config{Delay: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	home, err := router.Host("home-"+profile, link.Config{}, addr)
	if err != nil {
		t.Fatal(err)
	}
	return home
}

// begin starts a program and returns a function for what it has printed when
// it has ended, whatever its exit code.
func begin(t *testing.T, h *lab.Host, name string, args ...string) func() string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := h.Command(ctx, name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() { <-ended })
	return func() string { <-ended; return out.String() }
}

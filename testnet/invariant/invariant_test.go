package invariant_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/invariant"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
)

var (
	start  = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	secret = []byte("canary \x00\xff secret!")
)

// net is a host behind two routers, a server that echoes, and a neighbour.
type net struct {
	t      *testing.T
	w      *sim.World
	x      *invariant.Watch
	alice  *sim.Host
	server *sim.Host
	port   *sim.UDPPort
	echo   int // answers of the server to each datagram
}

func newNet(t *testing.T, except ...invariant.Rule) *net {
	n := &net{t: t, w: sim.New(1, start), echo: 1}
	n.x = invariant.Observe(n.w, invariant.Config{
		Denied:   []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("224.0.0.0/4")},
		Allow:    func(t sim.Transit) bool { return t.Packet[19] == 77 },
		Factor:   map[string]float64{"server": 1},
		Canaries: [][]byte{secret},
		Except:   except,
	})
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	router := func(in interface {
		Router(string, nat.Config, link.Config) (*sim.Router, error)
	}, name, external string) *sim.Router {
		cfg, _ := nat.Profile("cone")
		cfg.External = []netip.Addr{netip.MustParseAddr(external)}
		r, err := in.Router(name, cfg, link.Config{Delay: time.Millisecond, Duplicate: 0.3})
		must(err)
		return r
	}
	isp := router(n.w, "isp", "203.0.113.1")
	home := router(isp, "home", "100.64.0.2")
	var err error
	n.alice, err = home.Host("alice", link.Config{MTU: 600}, netip.MustParseAddr("192.168.1.2"))
	must(err)
	n.server, err = n.w.Host("server", link.Config{}, netip.MustParseAddr("198.51.100.1"))
	must(err)
	var u *sim.UDPPort
	u, err = n.server.BindUDP(7, func(_ time.Time, from netip.AddrPort, b []byte) {
		for range n.echo {
			u.SendTo(from, b)
		}
	})
	must(err)
	n.port, err = n.alice.BindUDP(5000, func(time.Time, netip.AddrPort, []byte) {})
	must(err)
	return n
}

func (n *net) send(to string, b []byte) {
	n.port.SendTo(netip.MustParseAddrPort(to), b)
	n.w.Advance(n.w.Now().Add(time.Second))
}

// L-05: each rule sees its breach, and only that; honest traffic through two
// NATs, with duplicates, breaks none.
func TestRules(t *testing.T) {
	udp := func(to string, b []byte) []byte {
		return ipv4.AppendUDP(nil, 9, netip.MustParseAddrPort("192.168.1.2:5000"), netip.MustParseAddrPort(to), b)
	}
	for _, test := range []struct {
		name string
		rule invariant.Rule
		do   func(n *net)
	}{
		{"honest", "", func(n *net) {
			for i := range 200 {
				n.send("198.51.100.1:7", make([]byte, i))
			}
		}},
		{"denied", invariant.Denied, func(n *net) { n.send("10.1.2.3:7", []byte("x")) }},
		{"multicast", invariant.Denied, func(n *net) { n.send("239.255.255.250:1900", []byte("x")) }},
		{"allowed", "", func(n *net) { n.send("10.1.2.77:7", []byte("x")); n.w.Advance(n.w.Now()) }},
		{"amplifier", invariant.Factor, func(n *net) { n.echo = 2; n.send("198.51.100.1:7", []byte("x")) }},
		{"speaks first", invariant.Factor, func(n *net) {
			u, _ := n.server.BindUDP(8, nil)
			u.SendTo(netip.MustParseAddrPort("203.0.113.1:1"), []byte("x"))
			n.w.Advance(n.w.Now().Add(time.Second))
		}},
		{"repeat", invariant.Repeat, func(n *net) {
			for range 2 {
				n.alice.Send(udp("198.51.100.1:9", []byte("x")))
			}
		}},
		{"header checksum", invariant.Checksum, func(n *net) { p := udp("198.51.100.1:7", nil); p[10]++; n.alice.Send(p) }},
		{"UDP checksum", invariant.Checksum, func(n *net) { p := udp("198.51.100.1:9", []byte("x")); p[28]++; n.alice.Send(p) }},
		{"not IPv4", invariant.Checksum, func(n *net) { n.alice.Send([]byte("hello")) }},
		{"secret", invariant.Canary, func(n *net) { n.send("198.51.100.1:9", append([]byte("k="), secret...)) }},
		{"secret in hex", invariant.Canary, func(n *net) { n.send("198.51.100.1:9", []byte(hex.EncodeToString(secret))) }},
		{"secret in HEX", invariant.Canary, func(n *net) { n.send("198.51.100.1:9", fmt.Appendf(nil, "%X", secret)) }},
		{"secret in base64", invariant.Canary, func(n *net) {
			n.send("198.51.100.1:9", []byte(base64.StdEncoding.EncodeToString(secret)))
		}},
		{"secret inside base64", invariant.Canary, func(n *net) {
			n.send("198.51.100.1:9", []byte(base64.URLEncoding.EncodeToString([]byte("a"+string(secret)+"b"))))
		}},
		{"secret inside base64 again", invariant.Canary, func(n *net) {
			n.send("198.51.100.1:9", []byte(base64.StdEncoding.EncodeToString([]byte("ab"+string(secret)+"b"))))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNet(t)
			test.do(n)
			n.w.Advance(n.w.Now().Add(time.Second))
			if n.x.Packets() == 0 {
				t.Error("nothing was watched")
			}
			err := n.x.Err()
			if test.rule == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), string(test.rule)) || n.x.Breaches(test.rule) == 0 {
				t.Fatalf("%q not seen: %v", test.rule, err)
			}
			for _, r := range []invariant.Rule{invariant.Repeat, invariant.Denied, invariant.Factor, invariant.Canary, invariant.TTL, invariant.Checksum} {
				if r != test.rule && n.x.Breaches(r) > 0 {
					t.Errorf("%q as well: %v", r, err)
				}
			}
			e := newNet(t, test.rule)
			test.do(e)
			e.w.Advance(e.w.Now().Add(time.Second))
			if err := e.x.Err(); err != nil {
				t.Errorf("excepted, yet %v", err)
			}
		})
	}
}

// What adversaries make is not held against the network, except for a secret.
func TestForged(t *testing.T) {
	n := newNet(t)
	p := ipv4.AppendUDP(nil, 9, netip.MustParseAddrPort("198.51.100.1:7"), netip.MustParseAddrPort("10.0.0.1:7"), []byte("x"))
	p[28]++
	for range 2 {
		n.alice.SendForged(p)
	}
	n.w.Advance(start.Add(time.Second))
	if err := n.x.Err(); err != nil {
		t.Error(err)
	}
	n.alice.SendForged(ipv4.AppendUDP(nil, 9, netip.MustParseAddrPort("198.51.100.1:7"), netip.MustParseAddrPort("10.0.0.1:7"), secret))
	if n.x.Breaches(invariant.Canary) != 1 {
		t.Error("a secret in a forged packet was not seen")
	}
}

// fake is a test that takes note of its failure.
type fake struct {
	failed  string
	cleanup []func()
}

func (f *fake) Helper()                        {}
func (f *fake) Errorf(format string, a ...any) { f.failed += fmt.Sprintf(format, a...) }
func (f *fake) Cleanup(g func())               { f.cleanup = append(f.cleanup, g) }

// L-05: Install fails the test at its end, with the seed, and not without
// end. A canary that is too short to mean anything fails it too.
func TestInstall(t *testing.T) {
	for _, test := range []struct {
		canary string
		sends  int
		want   string
	}{
		{"long enough", 0, ""},
		{"long enough", 100, "seed 7: 99 breaches of invariants in 100 packets, among them: a packet was put on a line twice: 00:00:00.000000 eve/up: UDP"},
		{"short", 1, "a secret is on the wire"},
	} {
		f := &fake{}
		w := sim.New(7, start)
		invariant.Install(f, w, invariant.Config{Canaries: [][]byte{[]byte(test.canary)}})
		eve, err := w.Host("eve", link.Config{Loss: 1}, netip.MustParseAddr("198.51.100.1"))
		if err != nil {
			t.Fatal(err)
		}
		for range test.sends {
			eve.Send(ipv4.AppendUDP(nil, 9, netip.MustParseAddrPort("198.51.100.1:7"), netip.MustParseAddrPort("10.0.0.1:7"), nil))
		}
		for _, g := range f.cleanup {
			g()
		}
		if !strings.Contains(f.failed, test.want) || (f.failed == "") != (test.want == "") || strings.Count(f.failed, ";") > 4 || strings.Contains(f.failed, "\n") {
			t.Errorf("%d packets: failed with %q, want %q", test.sends, f.failed, test.want)
		}
	}
}

//go:build lab && linux

package natprobe

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shipworm/natprobe/report"
	"shipworm/natprobe/server"
	"shipworm/testnet/lab"
	"shipworm/testnet/link"
)

// kernels are routers of Linux's own, by what nftables makes of them. LAN and
// WAN stand for the inside host and the outside address.
var kernels = []struct {
	name      string
	rules     []string // of the routers, the innermost first; none = public
	mapping   report.Behavior
	filtering report.Behavior
	access    report.Access
}{
	{"linux", []string{`chain post { type nat hook postrouting priority 100;
		oifname eth0 masquerade
	}`}, report.EndpointIndependent, report.AddressAndPortDependent, report.NAT},
	{"fullcone", []string{`chain post { type nat hook postrouting priority 100;
		oifname eth0 masquerade
	}
	chain pre { type nat hook prerouting priority -100;
		iifname eth0 meta l4proto udp dnat to LAN
	}`}, report.EndpointIndependent, report.EndpointIndependent, report.NAT},
	{"restricted", []string{`set asked { type ipv4_addr . inet_service; flags dynamic, timeout; timeout 1m; size 1024; }
	chain note { type filter hook forward priority 0;
		oifname eth0 meta l4proto udp add @asked { ip daddr . udp sport }
	}
	chain post { type nat hook postrouting priority 100;
		oifname eth0 masquerade
	}
	chain pre { type nat hook prerouting priority -100;
		iifname eth0 ip saddr . udp dport @asked dnat to LAN
	}`}, report.EndpointIndependent, report.AddressDependent, report.NAT},
	{"adm", []string{`chain post { type nat hook postrouting priority 100;
		ip daddr 12.0.0.1 meta l4proto udp snat to WAN:20000-29999
		ip daddr 12.0.0.2 meta l4proto udp snat to WAN:30000-39999
	}`}, report.AddressDependent, report.AddressAndPortDependent, report.NAT},
	{"symmetric", []string{`chain post { type nat hook postrouting priority 100;
		oifname eth0 masquerade fully-random
	}`}, report.AddressAndPortDependent, report.AddressAndPortDependent, report.NAT},
	{"coneport", []string{`chain post { type nat hook postrouting priority 100;
		oifname eth0 meta l4proto udp snat to WAN:40000-49999
	}`}, report.EndpointIndependent, report.AddressAndPortDependent, report.NAT},
	{"blocked", []string{`chain stop { type filter hook forward priority 0;
		meta l4proto udp drop
	}`}, report.BehaviorUnknown, report.BehaviorUnknown, report.AccessUnknown},
	{"public", nil, report.EndpointIndependent, report.EndpointIndependent, report.Open},
	{"firewall", nil, report.EndpointIndependent, report.AddressAndPortDependent, report.Firewall},
	{"double", []string{`chain post { type nat hook postrouting priority 100;
		oifname eth0 masquerade
	}`, `chain post { type nat hook postrouting priority 100;
		oifname eth0 masquerade fully-random
	}`}, report.AddressAndPortDependent, report.AddressAndPortDependent, report.NAT},
}

// programs are the servers of the laboratory, at 12.0.0.1 and 12.0.0.2.
var programs = []struct {
	name string
	args string
	// full is RFC 5780 or 3489 with two addresses, elsewhere is RESPONSE-PORT.
	full, elsewhere bool
}{
	{"shipworm", "", true, true},
	{"turnserver", "-L 12.0.0.1 -L 12.0.0.2", true, true},
	{"turnserver", "-L 12.0.0.1", false, false},
	{"turnserver", "-L 12.0.0.1 -L 12.0.0.2 --no-rfc5780", false, false},
	{"stund", "-h 12.0.0.1 -a 12.0.0.2", true, false},
}

// TestKernelRouters probes from behind Linux's routers, through the servers of
// others. What a server cannot show is unknown, never wrong.
func TestKernelRouters(t *testing.T) {
	for _, p := range programs {
		t.Run(p.name+" "+p.args, func(t *testing.T) {
			if p.args != "" {
				if _, err := exec.LookPath(p.name); err != nil {
					t.Skipf("needs %s", p.name)
				}
			}
			l, err := lab.New(lab.Config{Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			l.CloseAfter(t)
			startProgram(t, l, p.name, p.args)
			for i, k := range kernels {
				client := kernelHome(t, l, i, k.name, k.rules)
				t.Run(k.name, func(t *testing.T) {
					mapping, filtering, access := k.mapping, k.filtering, k.access
					switch {
					case access == report.AccessUnknown:
					case !p.full:
						filtering = report.BehaviorUnknown
						if access == report.NAT {
							mapping = report.BehaviorUnknown
						} else {
							access = report.AccessUnknown
						}
					case !p.elsewhere && mapping != report.EndpointIndependent:
						filtering = report.BehaviorUnknown // no control
					}
					r := probeKnown(t, client, filtering)
					if r.Mapping != mapping || r.Filtering != filtering || r.Access != access {
						t.Errorf("%v, %v, %v; want %v, %v, %v: %v", r.Access, r.Mapping, r.Filtering, access, mapping, filtering, r.Evidence)
					}
					t.Logf("%v, %d packets, %v", r.Duration, r.Packets.Sent, r.Classic())
				})
			}
		})
	}
}

func probeFrom(t testing.TB, h *lab.Host) *report.Report {
	t.Helper()
	return probeWith(t, h, Tests{})
}

// probeKnown probes again if the filter is unknown that should be known: so it is,
// and must be, on a machine that stalls. A wrong verdict is not asked for twice.
func probeKnown(t testing.TB, h *lab.Host, want report.Behavior) *report.Report {
	t.Helper()
	r := probeFrom(t, h)
	for range 9 {
		if r.Filtering != report.BehaviorUnknown || want == report.BehaviorUnknown {
			break
		}
		t.Logf("%s: unknown, once more: %v", h.Name(), r.Evidence)
		r = probeFrom(t, h)
	}
	return r
}

func probeWith(t testing.TB, h *lab.Host, tests Tests) *report.Report {
	t.Helper()
	return runFrom(t, probeConfig(t, h, tests))
}

// probeConfig is for a probe from a host of the laboratory.
func probeConfig(t testing.TB, h *lab.Host, tests Tests) Config {
	t.Helper()
	c := Config{
		Servers: []netip.AddrPort{netip.MustParseAddrPort("12.0.0.1:3478")},
		Tests:   tests,
		Listen: func(ctx context.Context, local netip.AddrPort) (c net.PacketConn, err error) {
			err = h.Do(func() error { c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(local)); return err })
			return c, err
		},
	}
	if err := h.Do(func() (err error) { c.Local, err = route(c.Servers[0]); return err }); err != nil {
		t.Fatal(err)
	}
	return c
}

func runFrom(t testing.TB, c Config) *report.Report {
	t.Helper()
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func output(t testing.TB, h *lab.Host, script string) {
	t.Helper()
	if out, err := h.Command(t.Context(), "sh", "-ec", script).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// kernelHome puts a host behind kernel routers.
func kernelHome(t testing.TB, l *lab.Lab, i int, name string, rules []string) *lab.Host {
	t.Helper()
	host := func(name string, a netip.Addr, c link.Config) *lab.Host {
		h, err := l.Host(name, c, a)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	wan := netip.AddrFrom4([4]byte{11, 0, byte(i), 1})
	line := link.Config{Delay: 20 * time.Millisecond}
	if len(rules) == 0 {
		h := host("pc-"+name, wan, line)
		if name == "firewall" {
			output(t, h, "nft -f - <<END\ntable ip filter {\n chain in { type filter hook input priority 0; policy drop;\n iif lo accept\n ct state established accept\n }\n}\nEND")
		}
		return h
	}
	outer := host("gateway-"+name, wan, line)
	for n := len(rules) - 1; n >= 0; n-- {
		// Further in, the outside is eth0 too: the interface gets that name.
		lan := fmt.Sprintf("192.168.%d", n+1)
		if name == "carrier" && n > 0 {
			lan = "100.64.0"
		}
		r := strings.NewReplacer("LAN", lan+".2", "WAN", wan.String()).Replace(rules[n])
		inner := host(fmt.Sprintf("in%d-%s", n, name), netip.AddrFrom4([4]byte{192, 0, 2, byte(10*i + n + 1)}), link.Config{})
		output(t, inner, "ip link set eth0 down; ip link set eth0 name unused")
		output(t, outer, fmt.Sprintf(`ip link add lan0 type veth peer name eth0 netns %s
ip address add %s.1/24 dev lan0
ip link set lan0 up
sysctl -qw net.ipv4.ip_forward=1
nft -f - <<END
table ip probe {
	%s
}
END`, inner.Netns(), lan, r))
		output(t, inner, fmt.Sprintf("ip address add %s.2/24 dev eth0; ip address add %s.3/24 dev eth0; ip link set eth0 up; ip route add default via %s.1", lan, lan, lan))
		outer = inner
	}
	return outer
}

// startProgram runs a server at 12.0.0.1, and at 12.0.0.2 if it has two
// addresses.
func startProgram(t testing.TB, l *lab.Lab, name, args string) {
	t.Helper()
	addrs := []netip.Addr{netip.MustParseAddr("12.0.0.1"), netip.MustParseAddr("12.0.0.2")}
	h, err := l.Host("server", link.Config{Delay: 5 * time.Millisecond}, addrs...)
	if err != nil {
		t.Fatal(err)
	}
	if args == "" {
		runOurs(t, h, addrs)
		return
	}
	list := strings.Fields(args)
	if name == "turnserver" {
		list = append(list, "-n", "--no-cli", "--no-tls", "--no-dtls", "--simple-log",
			"--log-file", filepath.Join(t.TempDir(), "log"), "--pidfile", filepath.Join(t.TempDir(), "pid"))
	}
	cmd := h.Command(t.Context(), name, list...)
	cmd.Dir = t.TempDir()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := h.WaitReady(ctx, "udp", 3478); err != nil {
		t.Fatal(err)
	}
}

func runOurs(t testing.TB, h *lab.Host, addrs []netip.Addr) {
	t.Helper()
	ready := make(chan struct{})
	s, err := server.New(server.Config{Listen: addrs, OnReady: func() { close(ready) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Do(func() error { return s.Run(ctx) }) }()
	t.Cleanup(func() { cancel(); <-ended })
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
}

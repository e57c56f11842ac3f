//go:build lab && linux

package upnp

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"shipworm/testnet/lab"
	"shipworm/testnet/link"
)

// home is a laboratory with Debian's miniupnpd as the router of a PC, and a
// server outside.
type home struct {
	gateway, pc, server *lab.Host
	dir                 string
	daemon              *lab.Cmd
	log                 strings.Builder
}

var (
	labServer  = netip.MustParseAddr("203.0.113.1")
	labGateway = netip.MustParseAddr("11.0.0.1") // miniupnpd maps no reserved addresses
)

const labConfig = `ext_ifname=eth0
listening_ip=lan0
http_port=5000
enable_natpmp=%s
enable_upnp=%s
secure_mode=yes
uuid=00000000-0000-4000-8000-000000000001
allow 1024-65535 192.168.2.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
`

const labTable = `table inet filter {
	chain forward {
		type filter hook forward priority 0; policy drop;
		ct state established,related accept
		iifname "lan0" accept
		jump miniupnpd
	}
	chain miniupnpd { }
	chain prerouting {
		type nat hook prerouting priority -100; policy accept;
		jump prerouting_miniupnpd
	}
	chain postrouting {
		type nat hook postrouting priority 100; policy accept;
		jump postrouting_miniupnpd
		oifname "eth0" masquerade
	}
	chain prerouting_miniupnpd { }
	chain postrouting_miniupnpd { }
}
`

// newHome builds it; the daemon speaks PCP and NAT-PMP, and UPnP, as told.
func newHome(t testing.TB, natpmp, upnp string) *home {
	t.Helper()
	return newHomeWith(t, natpmp, upnp, "", func(*home) {})
}

// newHomeWith adds to the daemon's configuration and to the networks.
func newHomeWith(t testing.TB, natpmp, upnp, config string, networks func(*home)) *home {
	t.Helper()
	for _, p := range []string{"miniupnpd", "nft", "upnpc", "natpmpc"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s", p)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("miniupnpd needs root")
	}
	l, err := lab.New(lab.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	h := &home{dir: t.TempDir()}
	t.Cleanup(func() { // after the laboratory has ended it
		if h.daemon != nil {
			_ = h.daemon.Wait()
		}
	})
	l.CloseAfter(t)
	for _, one := range []struct {
		host **lab.Host
		name string
		addr netip.Addr
	}{{&h.server, "server", labServer}, {&h.gateway, "gateway", labGateway}, {&h.pc, "pc", netip.MustParseAddr("192.0.2.2")}} {
		if *one.host, err = l.Host(one.name, link.Config{}, one.addr); err != nil {
			t.Fatal(err)
		}
	}
	h.output(t, h.gateway, "ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan0", "netns", h.pc.Netns())
	for host, addr := range map[*lab.Host]string{h.gateway: "192.168.2.1/24", h.pc: "192.168.2.2/24"} {
		h.output(t, host, "ip", "address", "add", addr, "dev", "lan0")
		h.output(t, host, "ip", "link", "set", "lan0", "up")
	}
	h.output(t, h.pc, "ip", "link", "set", "eth0", "down")
	h.output(t, h.pc, "ip", "route", "add", "default", "via", "192.168.2.1")
	h.output(t, h.gateway, "sysctl", "-qw", "net.ipv4.ip_forward=1")
	for file, text := range map[string]string{"table": labTable, "config": config + fmt.Sprintf(labConfig, natpmp, upnp)} {
		if err := os.WriteFile(filepath.Join(h.dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.output(t, h.gateway, "nft", "-f", filepath.Join(h.dir, "table"))
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(h.log.String())
		}
	})
	networks(h)
	h.boot(t)
	return h
}

// boot starts the daemon, and returns when it serves.
func (h *home) boot(t testing.TB) {
	t.Helper()
	h.daemon = h.gateway.Command(context.Background(), "miniupnpd", "-d", "-f", filepath.Join(h.dir, "config"), "-P", filepath.Join(h.dir, "pid"))
	h.daemon.Dir = h.dir
	h.daemon.Stdout, h.daemon.Stderr = &h.log, &h.log
	if err := h.daemon.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	port, network := uint16(5000), "tcp"
	if text, _ := os.ReadFile(filepath.Join(h.dir, "config")); strings.Contains(string(text), "enable_upnp=no") {
		port, network = 5351, "udp"
	}
	if err := h.gateway.WaitReady(ctx, network, port); err != nil {
		t.Fatal(err)
	}
}

// powerCut ends the daemon at once, and empties its tables.
func (h *home) powerCut(t testing.TB) {
	t.Helper()
	_ = h.daemon.Process.Kill()
	_ = h.daemon.Wait()
	for _, chain := range []string{"miniupnpd", "prerouting_miniupnpd", "postrouting_miniupnpd"} {
		h.output(t, h.gateway, "nft", "flush", "chain", "inet", "filter", chain)
	}
}

func (h *home) output(t testing.TB, host *lab.Host, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := host.Command(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s on %s: %v\n%s", name, host.Name(), err, out)
	}
	return string(out)
}

// keeping is a process on the PC that keeps a port mapped.
type keeping struct {
	*lab.Cmd
	lines chan report
}

func (h *home) keeper(t testing.TB, mode string) *keeping {
	t.Helper()
	k := &keeping{Cmd: h.pc.Command(context.Background(), os.Args[0]), lines: make(chan report, 1000)}
	k.Dir, k.Env = h.dir, append(os.Environ(), keeperMode+"="+mode)
	k.Stderr = os.Stderr
	out, err := k.StdoutPipe()
	if err == nil {
		err = k.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			var r report
			if json.Unmarshal(s.Bytes(), &r) == nil {
				k.lines <- r
			}
		}
		close(k.lines)
	}()
	return k
}

// mapping returns the next mapping that the keeper reports.
func (k *keeping) mapping(t testing.TB, within time.Duration) report {
	t.Helper()
	late := time.After(within)
	for {
		select {
		case r, ok := <-k.lines:
			if !ok {
				t.Fatal("the keeper has ended")
			}
			if r.Text == "" {
				return r
			}
		case <-late:
			t.Fatalf("no mapping within %v", within)
		}
	}
}

// end has the keeper remove its mapping.
func (k *keeping) end(t testing.TB) {
	t.Helper()
	begin := time.Now()
	_ = k.Process.Signal(syscall.SIGTERM)
	for range k.lines {
	}
	_ = k.Wait()
	if took := time.Since(begin); took > 2*time.Second+stall {
		t.Errorf("the end took %v", took)
	}
}

// stall is what a busy machine may add to the times that are promised; the tests
// in virtual time hold to them without it.
const stall = 30 * time.Second

// reach sends datagrams from the server until one arrives, and returns how long
// that took.
func (h *home) reach(t testing.TB, k *keeping, to netip.AddrPort, within time.Duration) time.Duration {
	t.Helper()
	begin := time.Now()
	word := fmt.Sprint(begin.UnixNano())
	for time.Since(begin) < within {
		// From another port each time: what the router's kernel decided for one
		// pair of endpoints stays decided.
		err := h.server.Do(func() error {
			c, err := net.Dial("udp", to.String())
			if err == nil {
				_, err = c.Write([]byte(word))
				c.Close()
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		wait := time.After(10 * time.Millisecond)
	waiting:
		for {
			select {
			case r := <-k.lines:
				if r.Text == word {
					return time.Since(begin)
				}
			case <-wait:
				break waiting
			}
		}
	}
	t.Fatalf("nothing from outside reached %v within %v", to, within)
	return 0
}

// U-16: the first mapping on miniupnpd by each protocol, reached from outside,
// and how long it takes beside upnpc and natpmpc in the same run.
func TestMiniupnpd(t *testing.T) {
	tests := []struct {
		name, natpmp, upnp, mode string
		via                      string
		within                   float64 // milliseconds
		peer                     []string
	}{
		{"PCP", "yes", "yes", "any", "PCP", 200, nil},
		{"NAT-PMP", "yes", "yes", "NAT-PMP", "NAT-PMP", 200, []string{"natpmpc", "-g", "192.168.2.1", "-a", "16010", "16010", "udp", "60"}},
		{"UPnP", "no", "yes", "any", "UPnP", 1500, []string{"upnpc", "-a", "192.168.2.2", "16020", "16020", "udp", "60"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHome(t, tt.natpmp, tt.upnp)
			var ours []float64
			for range 9 {
				k := h.keeper(t, tt.mode)
				r := k.mapping(t, time.Minute)
				if r.Mapping.Via.String() != tt.via || r.Mapping.External.Addr() != labGateway {
					t.Fatalf("mapped %+v", r.Mapping)
				}
				ours = append(ours, r.Millis)
				h.reach(t, k, r.Mapping.External, time.Minute)
				k.end(t)
			}
			if rules := h.output(t, h.gateway, "nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd"); strings.Contains(rules, "dnat") {
				t.Errorf("left:\n%s", rules)
			}
			slices.Sort(ours)
			line := fmt.Sprintf("%-8s shipworm %.1f ms (best of 9; median %.1f, worst %.1f)", tt.name, ours[0], ours[4], ours[8])
			if tt.peer != nil {
				begin := time.Now()
				h.output(t, h.pc, tt.peer[0], tt.peer[1:]...)
				peer := float64(time.Since(begin).Microseconds()) / 1000
				line += fmt.Sprintf(", %s %.1f ms", tt.peer[0], peer)
				if ours[0] > peer {
					t.Errorf("%s is faster", tt.peer[0])
				}
			}
			t.Log(line)
			// The best of nine: the others tell how busy the machine is, and ten
			// times what is promised how slow. Virtual time holds to the promise.
			if ours[0] > tt.within {
				t.Errorf("%v ms, want at most %v", ours, tt.within)
			}
		})
	}
}

// U-09: kill -9 leaves no mapping five seconds after the next start.
func TestMiniupnpdKill(t *testing.T) {
	for _, tt := range []struct{ name, natpmp string }{{"PCP", "yes"}, {"UPnP", "no"}} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHome(t, tt.natpmp, "yes")
			k := h.keeper(t, "any")
			old := k.mapping(t, time.Minute)
			_ = k.Process.Kill()
			_ = k.Wait()
			if list := h.output(t, h.pc, "upnpc", "-l"); !strings.Contains(list, old.Mapping.Internal.String()) {
				t.Fatalf("nothing was left: nothing is tested\n%s", list)
			}
			next := h.keeper(t, "any")
			now := next.mapping(t, time.Minute)
			var list string
			for begin := time.Now(); ; time.Sleep(time.Second) {
				list = h.output(t, h.pc, "upnpc", "-l")
				if !strings.Contains(list, old.Mapping.Internal.String()) {
					break
				} else if time.Since(begin) > 5*time.Second+stall {
					t.Errorf("five seconds after the start:\n%s", list)
					break
				}
			}
			if !strings.Contains(list, now.Mapping.Internal.String()) {
				t.Errorf("the new one is not there:\n%s", list)
			}
			next.end(t)
		})
	}
}

// U-15: the router loses power; the same port is open again within a second of
// its announcement, and within ten where nobody hears that.
func TestMiniupnpdRestart(t *testing.T) {
	for _, tt := range []struct {
		name, natpmp string
		silent       bool
		within       time.Duration
	}{
		{"PCP", "yes", false, time.Second}, {"UPnP", "no", false, time.Second},
		{"PCP, unheard", "yes", true, 10 * time.Second}, {"UPnP, unheard", "no", true, 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHome(t, tt.natpmp, "yes")
			if tt.silent {
				h.output(t, h.gateway, "nft", "add chain inet filter output { type filter hook output priority 0; }; add rule inet filter output ip daddr 224.0.0.0/4 drop")
			}
			k := h.keeper(t, "any")
			r := k.mapping(t, time.Minute)
			h.reach(t, k, r.Mapping.External, time.Minute)
			if tt.silent { // its clock and BOOTID count seconds
				time.Sleep(3 * time.Second)
			}
			// The best of three: a machine that is busy may be late.
			best := time.Minute
			for try := 0; try < 3 && best > tt.within; try++ {
				h.powerCut(t)
				h.boot(t)
				took := h.reach(t, k, r.Mapping.External, time.Minute)
				t.Logf("%s: open again %v after the daemon served", tt.name, took.Round(time.Millisecond))
				best = min(best, took)
			}
			if best > tt.within {
				t.Errorf("took %v at best", best)
			}
			k.end(t)
		})
	}
}

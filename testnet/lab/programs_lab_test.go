//go:build lab && linux

package lab_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"shipworm/testnet/lab"
	"shipworm/testnet/link"
	"shipworm/testnet/sim"
)

// translating are NATs of every kind, for programs that must not care.
var translating = []string{"cone", "address-restricted", "port-restricted", "symmetric", "linux"}

func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s: %v", p, err)
		}
	}
}

// iperf3 measures in both directions, in TCP and UDP.
func TestIperf(t *testing.T) {
	need(t, "iperf3")
	for _, profile := range translating {
		t.Run(profile, func(t *testing.T) {
			_, home, server := newLab(t, profile, link.Config{})
			p := path{home, server, server.Addr()}
			for _, args := range [][]string{{"-n", "20M"}, {"-n", "20M", "-R"}, {"-u", "-b", "200M", "-n", "4M", "-l", "1200"}} {
				rate := iperf(t, p, args...)
				t.Logf("%v: %.0f Mbit/s", args, rate/1e6)
				if rate < 1e6 { // the speed itself is a benchmark's business
					t.Errorf("%v: %.1f Mbit/s arrived", args, rate/1e6)
				}
			}
		})
	}
}

// coturn relays between two of its clients behind a NAT.
func TestCoturnRelay(t *testing.T) {
	need(t, "turnserver", "turnutils_uclient")
	l, err := lab.New(lab.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.CloseAfter(t)
	server := startCoturn(t, l, "--lt-cred-mech", "--realm", "example.org", "--user", "alice:secret")
	var relayed []func() string
	for i, profile := range translating {
		relayed = append(relayed, begin(t, addHome(t, l, profile, i), "turnutils_uclient", "-y", "-c",
			"-n", "10", "-m", "2", "-z", "5", "-u", "alice", "-w", "secret", server.Addr().String()))
	}
	for i, profile := range translating {
		t.Run(profile, func(t *testing.T) {
			out := relayed[i]()
			m := regexp.MustCompile(`tot_send_msgs=(\d+), tot_recv_msgs=(\d+)`).FindAllStringSubmatch(out, -1)
			if len(m) == 0 || m[len(m)-1][1] == "0" || m[len(m)-1][1] != m[len(m)-1][2] {
				t.Errorf("not everything was relayed:\n%s", out)
			}
		})
	}
}

// Chromium shows a page from behind a NAT: the address that it has outside.
func TestChromium(t *testing.T) {
	need(t, "chromium")
	dir := t.TempDir() // is removed when the laboratory has ended what writes there
	_, home, server := newLab(t, "symmetric", link.Config{Delay: 5 * time.Millisecond})
	if err := server.Reflect(); err != nil {
		t.Fatal(err)
	}
	cmd := home.Command(waitTimeout(t, 3*time.Minute), "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
		"--disable-background-networking", "--user-data-dir="+dir, "--dump-dom", "http://server/")
	cmd.Env = append(os.Environ(), "HOME="+dir)
	page, err := cmd.Output()
	if want := outside.String() + ":"; err != nil || !strings.Contains(string(page), want) {
		t.Errorf("%v, want %s in the page:\n%s", err, want, page)
	}
}

// miniupnpd makes a kernel's NAT of a host with two interfaces, and opens a port
// of it for a neighbour who asks: the laboratory carries routers that are
// programs as well as those that it simulates.
func TestMiniupnpd(t *testing.T) {
	need(t, "miniupnpd", "nft")
	if os.Geteuid() != 0 {
		t.Skip("miniupnpd needs root")
	}
	l, _, server := newLab(t, "cone", link.Config{})
	// miniupnpd maps no ports of reserved addresses, of which the examples
	// elsewhere are.
	gateway, err := l.Host("gateway", link.Config{}, netip.MustParseAddr("11.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	pc, err := l.Host("pc", link.Config{}, netip.MustParseAddr("192.0.2.2"))
	if err != nil {
		t.Fatal(err)
	}
	joinVeth(t, gateway, "lan0", "192.168.2.1/24", pc, "lan0", "192.168.2.2/24")
	output(t, pc, "ip", "link", "set", "eth0", "down")
	output(t, pc, "ip", "route", "add", "default", "via", "192.168.2.1")
	output(t, gateway, "sysctl", "-qw", "net.ipv4.ip_forward=1")
	dir := t.TempDir()
	table, config := filepath.Join(dir, "table"), filepath.Join(dir, "config")
	for file, text := range map[string]string{table: upnpTable, config: upnpConfig} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	output(t, gateway, "nft", "-f", table)
	daemon := gateway.Command(t.Context(), "miniupnpd", "-d", "-f", config, "-P", filepath.Join(dir, "pid"))
	daemon.Dir = dir
	var log strings.Builder
	daemon.Stdout, daemon.Stderr = &log, &log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	const natPMP = 5351
	if err := gateway.WaitReady(waitTimeout(t, time.Minute), "udp", natPMP); err != nil {
		t.Fatal(err)
	}

	c := listen(t, pc, netip.MustParseAddrPort("192.168.2.2:16010"))
	// Map UDP 16010 to outside port 16011 for 60 seconds (RFC 6886, 3.3).
	send(t, c, &net.UDPAddr{IP: net.IPv4(192, 168, 2, 1), Port: natPMP}, "\x00\x01\x00\x00\x3e\x8a\x3e\x8b\x00\x00\x00\x3c")
	answer, _ := receive(t, c)
	if len(answer) != 16 || answer[:4] != "\x00\x81\x00\x00" || answer[8:12] != "\x3e\x8a\x3e\x8b" {
		t.Fatalf("answer % x", answer)
	}
	s := listen(t, server, netip.AddrPortFrom(server1, 5000))
	send(t, s, &net.UDPAddr{IP: net.IPv4(11, 0, 0, 1), Port: 16011}, "hello")
	if text, from := receive(t, c); text != "hello" || from.String() != "203.0.113.1:5000" {
		t.Errorf("%q from %v", text, from)
	}
}

const upnpConfig = `ext_ifname=eth0
listening_ip=lan0
enable_natpmp=yes
enable_upnp=yes
secure_mode=yes
uuid=00000000-0000-4000-8000-000000000001
allow 1024-65535 192.168.2.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
`

const upnpTable = `table inet filter {
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

// A stream arrives byte for byte, whether it crosses the laboratory in
// super-packets or in packets, and also when that changes on the way.
func TestStreamIsWhole(t *testing.T) {
	tests := []struct {
		name   string
		line   link.Config
		size   int
		change bool
	}{
		{"perfect line", link.Config{}, 64 << 20, false},
		{"delay and loss", link.Config{Delay: 2 * time.Millisecond, Loss: 0.001}, 4 << 20, false},
		{"small MTU", link.Config{MTU: 1280}, 8 << 20, false},
		{"changed on the way", link.Config{}, 64 << 20, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, home, server := newLab(t, "symmetric", tt.line)
			var listener net.Listener
			if err := server.Do(func() (err error) {
				listener, err = net.Listen("tcp4", "203.0.113.1:80")
				return err
			}); err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			type result struct {
				sum [sha256.Size]byte
				n   int64
				err error
			}
			got := make(chan result, 1)
			go func() {
				c, err := listener.Accept()
				if err != nil {
					got <- result{err: err}
					return
				}
				defer c.Close()
				h := sha256.New()
				n, err := io.Copy(h, c)
				got <- result{[sha256.Size]byte(h.Sum(nil)), n, err}
			}()
			var c net.Conn
			if err := home.Do(func() (err error) {
				c, err = net.Dial("tcp4", "203.0.113.1:80")
				return err
			}); err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
				t.Fatal(err)
			}
			want := sha256.New()
			rng := rand.NewChaCha8([32]byte{1})
			buf := make([]byte, 1<<18)
			for sent := 0; sent < tt.size; sent += len(buf) {
				_, _ = rng.Read(buf)
				want.Write(buf)
				if _, err := c.Write(buf); err != nil {
					t.Fatal(err)
				}
				if tt.change && sent == tt.size/2 {
					if err := l.Change(func(*sim.World) error { return nil }); err != nil {
						t.Fatal(err)
					}
				}
			}
			c.Close()
			r := <-got
			if r.err != nil || r.n != int64(tt.size) || fmt.Sprintf("%x", r.sum) != fmt.Sprintf("%x", want.Sum(nil)) {
				t.Errorf("%d bytes of %d arrived, sum %x: %v", r.n, tt.size, r.sum, r.err)
			}
		})
	}
}

// A trace shows packets as a wire has them, checksums and all, whatever the
// kernels hand over.
func TestTraceIsOfPackets(t *testing.T) {
	l, home, server := newLab(t, "symmetric", link.Config{})
	need(t, "iperf3")
	packets, large := 0, 0
	l.SetTrace(func(e sim.Event) {
		packets++
		if len(e.Packet) > 1500 {
			large++
		}
	})
	iperf(t, path{home, server, server.Addr()}, "-n", "5M")
	l.SetTrace(nil)
	if packets < 3000 || large > 0 {
		t.Errorf("%d events, %d with more than an Ethernet packet", packets, large)
	}
}

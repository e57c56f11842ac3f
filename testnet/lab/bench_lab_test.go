//go:build lab && linux

package lab_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"shipworm/testnet/lab"
	"shipworm/testnet/link"
)

// kernelNAT is what the laboratory is measured against: three namespaces in a
// row joined by veth, the middle one with nftables' masquerade.
func kernelNAT(t testing.TB) (client, server *lab.Host, serverAddr netip.Addr) {
	t.Helper()
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("needs nftables: ", err)
	}
	l, err := lab.New(lab.Config{})
	if err != nil {
		t.Fatal(err)
	}
	l.CloseAfter(t)
	var hosts []*lab.Host
	for i := range 3 {
		h, err := l.Host(fmt.Sprint("kernel", i), link.Config{}, netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}))
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	client, router, server := hosts[0], hosts[1], hosts[2]
	joinVeth(t, client, "lan0", "10.1.1.2/24", router, "lan0", "10.1.1.1/24")
	joinVeth(t, router, "wan0", "10.2.2.1/24", server, "wan0", "10.2.2.2/24")
	output(t, client, "ip", "route", "add", "10.2.2.0/24", "via", "10.1.1.1")
	output(t, router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
	output(t, router, "nft", "add table ip nat; add chain ip nat post { type nat hook postrouting priority 100 ; }; add rule ip nat post oifname wan0 masquerade")
	return client, server, netip.MustParseAddr("10.2.2.2")
}

// joinVeth puts a cable between two hosts, beside their lines.
func joinVeth(t testing.TB, a *lab.Host, aName, aAddr string, b *lab.Host, bName, bAddr string) {
	t.Helper()
	output(t, a, "ip", "link", "add", aName, "type", "veth", "peer", "name", bName, "netns", b.Netns())
	for _, end := range []struct {
		host       *lab.Host
		name, addr string
	}{{a, aName, aAddr}, {b, bName, bAddr}} {
		output(t, end.host, "ip", "address", "add", end.addr, "dev", end.name)
		output(t, end.host, "ip", "link", "set", end.name, "up")
	}
}

// path is one way between a client and a server.
type path struct {
	client, server *lab.Host
	addr           netip.Addr
}

func benchPaths(b *testing.B, line link.Config) (ours, kernel path) {
	_, home, server := newLab(b, "linux", line)
	client, far, addr := kernelNAT(b)
	return path{home, server, server.Addr()}, path{client, far, addr}
}

func median[T ~int64 | ~float64](v []T) T {
	slices.Sort(v)
	return v[len(v)/2]
}

// BenchmarkLabTCP is one TCP connection of iperf3 for a second, through the
// laboratory and its NAT, and through veth and the kernel's masquerade; the
// medians of interleaved rounds.
func BenchmarkLabTCP(b *testing.B) {
	benchmarkThroughput(b, link.Config{}, "-t", "1", "-C", "cubic")
}

// BenchmarkLabTCPDelay is the same over a line with a delay, which carries
// packets and not super-packets.
func BenchmarkLabTCPDelay(b *testing.B) {
	benchmarkThroughput(b, link.Config{Delay: time.Millisecond}, "-t", "1", "-C", "cubic")
}

// BenchmarkLabUDP sends datagrams one by one, as fast as the laboratory takes
// them.
func BenchmarkLabUDP(b *testing.B) {
	benchmarkThroughput(b, link.Config{}, "-t", "1", "-u", "-b", "0", "-l", "1200")
}

func benchmarkThroughput(b *testing.B, line link.Config, args ...string) {
	if _, err := exec.LookPath("iperf3"); err != nil {
		b.Skip("needs iperf3: ", err)
	}
	ours, kernel := benchPaths(b, line)
	var a, c []float64
	for b.Loop() {
		for range 5 {
			a = append(a, iperf(b, ours, args...))
			c = append(c, iperf(b, kernel, args...))
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(a)/1e9, "lab-Gbit/s")
	b.ReportMetric(median(c)/1e9, "kernel-Gbit/s")
}

// iperf returns what arrived, in bit/s.
func iperf(t testing.TB, p path, args ...string) float64 {
	t.Helper()
	server := p.server.Command(t.Context(), "iperf3", "-s", "-1")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if err := p.server.WaitReady(t.Context(), "tcp", 5201); err != nil {
		t.Fatal(err)
	}
	type sum struct {
		Rate float64 `json:"bits_per_second"`
		Lost float64 `json:"lost_percent"`
	}
	var report struct {
		End struct {
			Received sum `json:"sum_received"`
			Sum      sum `json:"sum"`
		} `json:"end"`
	}
	out := output(t, p.client, "iperf3", append([]string{"-J", "-c", p.addr.String()}, args...)...)
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err)
	}
	if err := server.Wait(); err != nil {
		t.Fatal(err)
	}
	if r := report.End.Received.Rate; r > 0 {
		return r
	}
	return report.End.Sum.Rate * (1 - report.End.Sum.Lost/100)
}

// BenchmarkLabRoundTrip asks an echo server in UDP and the server's kernel by
// ping, one question at a time, as fast as answers come, and compares the
// medians with those over veth and the kernel's masquerade.
func BenchmarkLabRoundTrip(b *testing.B) { benchmarkRoundTrip(b, 2000, 0) }

// BenchmarkLabLoneRoundTrip is the same with ten milliseconds between an answer
// and the next question, in which everybody falls asleep: the laboratory is one
// more to be woken, and on an idle processor that takes many times what a
// packet costs.
func BenchmarkLabLoneRoundTrip(b *testing.B) { benchmarkRoundTrip(b, 100, 10*time.Millisecond) }

func benchmarkRoundTrip(b *testing.B, questions int, pause time.Duration) {
	ours, kernel := benchPaths(b, link.Config{})
	var askers []func(int) time.Duration
	for _, p := range []path{ours, kernel} {
		if err := p.server.Do(func() error { return startEcho(b, p.addr) }); err != nil {
			b.Fatal(err)
		}
		askers = append(askers, func(n int) time.Duration { return ask(b, p, n, pause) })
	}
	var udp, ping [2][]time.Duration
	for b.Loop() {
		for range 5 {
			for i, p := range []path{ours, kernel} {
				udp[i] = append(udp[i], askers[i](questions))
				ping[i] = append(ping[i], pings(b, p, questions, pause))
			}
		}
	}
	micro := func(d time.Duration) float64 { return float64(d) / 1e3 }
	b.ReportMetric(0, "ns/op")
	for _, m := range []struct {
		name string
		all  [2][]time.Duration
	}{{"udp", udp}, {"ping", ping}} {
		lab, kernel := median(m.all[0]), median(m.all[1])
		b.ReportMetric(micro(lab), m.name+"-lab-µs")
		b.ReportMetric(micro(kernel), m.name+"-kernel-µs")
		b.ReportMetric(micro(lab-kernel), m.name+"-added-µs")
	}
}

// BenchmarkLabDelay is how much later an answer comes than the line's delay, each
// way, has it: the median of questions that nobody else is in the way of.
func BenchmarkLabDelay(b *testing.B) {
	for _, delay := range []time.Duration{500 * time.Microsecond, 10 * time.Millisecond, 40 * time.Millisecond} {
		b.Run(delay.String(), func(b *testing.B) {
			_, home, server := newLab(b, "linux", link.Config{Delay: delay})
			if err := server.Do(func() error { return startEcho(b, server.Addr()) }); err != nil {
				b.Fatal(err)
			}
			var all []time.Duration
			for b.Loop() {
				all = append(all, ask(b, path{home, server, server.Addr()}, 25, 0))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(median(all)-2*delay)/1e3, "late-µs")
		})
	}
}

// startEcho is an echo server until the end of the test.
func startEcho(t testing.TB, addr netip.Addr) error {
	pc, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 7)))
	if err != nil {
		return err
	}
	t.Cleanup(func() { pc.Close() })
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := pc.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = pc.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	return nil
}

// ask returns the median time of n questions in UDP with a pause before each.
func ask(t testing.TB, p path, n int, pause time.Duration) time.Duration {
	t.Helper()
	var c *net.UDPConn
	err := p.client.Do(func() (err error) {
		c, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.addr, 7)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64)
	var all []time.Duration
	for range n {
		time.Sleep(pause)
		start := time.Now()
		if _, err := c.Write(buf); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
		all = append(all, time.Since(start))
	}
	return median(all)
}

var pingSummary = regexp.MustCompile(`rtt min/avg/max/mdev = [0-9.]+/([0-9.]+)/`)

// pings returns the mean of n round trips as ping measures them. Without a
// pause the next question follows each answer at once.
func pings(t testing.TB, p path, n int, pause time.Duration) time.Duration {
	t.Helper()
	pace := []string{"-f"}
	if pause > 0 {
		pace = []string{"-i", strconv.FormatFloat(pause.Seconds(), 'f', -1, 64)}
	}
	out := output(t, p.client, "ping", append(pace, "-n", "-q", "-c", fmt.Sprint(n), p.addr.String())...)
	m := pingSummary.FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no summary:\n%s", out)
	}
	ms, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(ms * float64(time.Millisecond))
}

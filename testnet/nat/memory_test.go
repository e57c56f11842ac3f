package nat_test

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/nat"
)

// million fills a NAT with a million mappings, each with a filter entry, and
// returns it with the memory that they take, in MiB.
func million(tb testing.TB) (*nat.NAT, float64) {
	tb.Helper()
	const hosts, each = 20_000, 50
	var pool []netip.Addr
	for i := range 32 {
		pool = append(pool, netip.AddrFrom4([4]byte{203, 0, 113, byte(1 + i)}))
	}
	n, err := nat.New(nat.Config{
		External: pool, Filtering: apd, Allocation: nat.Random, Refresh: nat.RefreshBoth,
		MaxMappings: hosts * each, MaxPeers: hosts * each,
	})
	if err != nil {
		tb.Fatal(err)
	}
	before := heap()
	buf := make([]byte, 0, 64)
	for i := range hosts {
		from := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		for port := range uint16(each) {
			buf = ipv4.AppendUDP(buf[:0], 1, netip.AddrPortFrom(from, 2000+port), outX1, nil)
			if v := n.Outbound(start.Add(time.Duration(i)*time.Millisecond), buf); v.Action != nat.Forward {
				tb.Fatalf("mapping %d of host %d: %v", port, i, v.Reason)
			}
		}
	}
	used := heap() - before
	runtime.KeepAlive(n)
	return n, float64(used) / (1 << 20)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// A million mappings with as many filter entries take less than 200 MiB,
// and end one by one at their time, without a search.
func TestMillionMappings(t *testing.T) {
	if testing.Short() {
		t.Skip("a million mappings take two seconds")
	}
	n, mib := million(t)
	t.Logf("a million mappings: %.0f MiB", mib)
	if mib > 200 {
		t.Errorf("%.0f MiB", mib)
	}
	if s := n.Stats(); s.Created != 1_000_000 || s.Expired != 0 {
		t.Fatalf("%+v", s)
	}
	// The hosts began a millisecond apart; so they end.
	n.Inbound(start.Add(nat.DefaultLifetime), nil)
	if got := n.Stats().Expired; got != 50 {
		t.Errorf("%d mappings ended with the first host", got)
	}
	n.Inbound(start.Add(nat.DefaultLifetime+10*time.Second-time.Millisecond), nil)
	if got := n.Stats().Expired; got != 500_000 {
		t.Errorf("%d mappings ended after ten seconds", got)
	}
	n.Inbound(start.Add(nat.DefaultLifetime+time.Hour), nil)
	if got := len(n.Mappings(start.Add(nat.DefaultLifetime + time.Hour))); got != 0 {
		t.Errorf("%d mappings are left", got)
	}
}

// BenchmarkMillion is a packet on one of a million mappings, with the memory
// of all of them.
func BenchmarkMillion(b *testing.B) {
	n, mib := million(b)
	now := start.Add(20 * time.Second)
	pkt := make([]byte, 0, 64)
	i := uint32(0)
	for b.Loop() {
		i = i*1664525 + 1013904223
		host := i >> 8 % 20_000
		from := netip.AddrFrom4([4]byte{10, byte(host >> 16), byte(host >> 8), byte(host)})
		pkt = ipv4.AppendUDP(pkt[:0], 1, netip.AddrPortFrom(from, 2000+uint16(i>>3%50)), outX1, nil)
		if v := n.Outbound(now, pkt); v.Reason != nat.Mapped {
			b.Fatal(v.Reason)
		}
	}
	b.ReportMetric(mib, "MiB")
}

package upnp

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"runtime/metrics"
	"testing"
	"time"

	"shipworm/testnet/igd"
)

// T-01, U-06: an external address by both sides of every boundary.
func TestJudge(t *testing.T) {
	tests := []struct {
		want  verdict
		addrs string
	}{
		{public, "1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255 169.255.0.0"},
		{public, "172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.2.1 192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0"},
		{public, "198.18.0.1 198.51.100.1 203.0.113.7 223.255.255.255 2001:db8::1 2000:: 3fff:ffff::1"},
		{inner, "10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255 ::ffff:10.0.0.1"},
		{unusable, "0.0.0.0 0.255.255.255 127.0.0.0 127.0.0.1 127.255.255.255 169.254.0.0 169.254.255.255 192.0.0.0 192.0.0.255"},
		{unusable, "192.88.99.0 192.88.99.255 224.0.0.0 239.255.255.250 240.0.0.0 255.255.255.255"},
		{unusable, ":: ::1 fe80::1 fc00::1 ff02::1 4000:: 1fff::1 64:ff9b::1 fe80::1%eth0"},
		{unusable, "192.168.7.1 192.168.7.255"}, // on the link
	}
	link := netip.MustParsePrefix("192.168.7.0/24")
	for _, tt := range tests {
		for _, s := range bytes.Fields([]byte(tt.addrs)) {
			if got := judge(netip.MustParseAddr(string(s)), link); got != tt.want {
				t.Errorf("%s: %d, want %d", s, got, tt.want)
			}
		}
	}
	if judge(netip.Addr{}, link) != unusable {
		t.Error("no address is of use")
	}
}

// U-02, U-04, U-05: hostile devices beside a silent gateway cost at most three
// seconds and 32 MiB of allocations in all, most of them their own, and have
// nobody else sent anything. The time is virtual, the memory real.
func TestHostileLAN(t *testing.T) {
	hostile := []string{"endless", "deep-xml", "huge-headers", "black-hole", "hundred-answers", "control-endless", "slow-drip", "redirect-loopback", "location-loopback"}
	total := allocated(func() {
		bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
			for i, name := range hostile {
				startAt(t, ctx, l, name, netip.AddrFrom4([4]byte{192, 168, 1, byte(50 + i)}))
			}
			begin := time.Now()
			got, err := newTestMapper(t, l, nil).Add(ctx, udpRequest())
			took := time.Since(begin)
			t.Logf("%v, %d connections", took, len(l.dialed))
			if err == nil {
				t.Errorf("mapped %+v", got)
			}
			if took > 3*time.Second {
				t.Errorf("took %v", took)
			}
			for _, to := range l.dialed {
				if to.Port() != 5001 || to.Addr().IsLoopback() {
					t.Errorf("connected to %v", to)
				}
			}
		})
	})
	t.Logf("%.1f MiB allocated in all (both sides)", float64(total)/(1<<20))
	if total > 32<<20 { // an answer of 16 MiB that is read whole takes 49
		t.Errorf("%d MiB allocated", total>>20)
	}
}

// allocated returns how many bytes are allocated while f runs, whatever becomes
// of them: the most in use at a time depends on the collector.
func allocated(f func()) int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	before := sample[0].Value.Uint64()
	f()
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64() - before)
}

// U-11: nothing listens while a port is kept: neither for searches nor for
// events, and a search of others is not answered.
func TestNothingListens(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
		r := start(t, ctx, l, "upnp-only")
		k := keep(ctx, newTestMapper(t, l, nil), udpRequest())
		k.next(t, time.Second)
		probe := l.listenPacket(netip.MustParseAddrPort("192.168.1.77:7777"))
		defer probe.Close()
		search := []byte("M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: upnp:rootdevice\r\n\r\n")
		for port := range 65536 {
			if l.send(probe.at, netip.AddrPortFrom(hostAddr, uint16(port)), search) {
				t.Errorf("UDP port %d is open", port)
			}
		}
		l.mu.Lock()
		for at := range l.tcp {
			if at.Addr() == hostAddr {
				t.Errorf("TCP port %d is open", at.Port())
			}
		}
		groups := append([]*memPacket(nil), l.groups[igd.SearchGroup]...)
		l.mu.Unlock()
		for _, g := range groups[1:] { // the first is the router's
			g.in <- datagram{probe.at, search}
		}
		_ = probe.SetReadDeadline(time.Now().Add(time.Minute))
		if n, from, err := probe.ReadFrom(make([]byte, 2048)); err == nil {
			t.Errorf("%d octets from %v", n, from)
		}
		for _, q := range r.Requests() {
			if bytes.Contains([]byte(q.Action), []byte("SUBSCRIBE")) {
				t.Errorf("subscribed: %v", q)
			}
		}
		k.end()
	})
}

// U-01: of many answers sixteen are looked at.
func TestManyAnswers(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
		search := l.listenPacket(netip.AddrPortFrom(gatewayAddr, 1900))
		done := make(chan struct{})
		go func() {
			defer close(done)
			buf := make([]byte, 2048)
			_, from, err := search.ReadFrom(buf)
			for i := range 100 {
				if err != nil {
					return
				}
				text := fmt.Sprintf("HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nLOCATION: http://192.168.1.1:5000/%d\r\n\r\n", i)
				_, err = search.WriteTo([]byte(text), from)
			}
		}()
		begin := time.Now()
		_, err := newTestMapper(t, l, nil).List(ctx)
		if err == nil || len(l.dialed) != maxCandidates || time.Since(begin) > 3*time.Second {
			t.Errorf("%v: %d connections in %v", err, len(l.dialed), time.Since(begin))
		}
		<-done
	})
}

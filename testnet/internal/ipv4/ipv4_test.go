package ipv4_test

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"testing"

	"shipworm/testnet/internal/ipv4"
)

var (
	from = netip.MustParseAddrPort("192.0.2.1:1024")
	to   = netip.MustParseAddrPort("198.51.100.2:53")
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The worked examples of RFC 1071, 3 and RFC 1624, 4.
func TestRFCExamples(t *testing.T) {
	if got := ipv4.Fold(ipv4.Sum([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}, 0)); got != 0xddf2 {
		t.Errorf("RFC 1071: sum %#04x, want 0xddf2", got)
	}
	var d ipv4.Delta
	d.Replace16(0x5555, 0x3285)
	if got := d.Apply(0xdd2f); got != 0x0000 {
		t.Errorf("RFC 1624: checksum %#04x, want 0x0000", got)
	}
}

// A packet spelled by hand, checksums computed by hand.
func TestAppendUDP(t *testing.T) {
	want := unhex(t, "4500001e000700004011"+"8e91"+"c0000201c6336402"+"04000035000a"+"a704"+"6869")
	got := ipv4.AppendUDP(nil, 7, from, to, []byte("hi"))
	if hex.EncodeToString(got) != hex.EncodeToString(want) {
		t.Errorf("\n got %x\nwant %x", got, want)
	}
	if s := ipv4.Summary(got); s != "UDP 192.0.2.1:1024 > 198.51.100.2:53, 2 B" {
		t.Error(s)
	}
}

// Every builder makes packets that its own checks accept, of odd and even
// length, and any flipped bit that a checksum covers is noticed.
func TestBuildersAndChecks(t *testing.T) {
	for name, build := range map[string]func(payload []byte) []byte{
		"UDP":  func(p []byte) []byte { return ipv4.AppendUDP(nil, 1, from, to, p) },
		"TCP":  func(p []byte) []byte { return ipv4.AppendTCP(nil, 1, from, to, ipv4.SYN, p) },
		"echo": func(p []byte) []byte { return ipv4.AppendEcho(nil, ipv4.EchoRequest, from.Addr(), to.Addr(), 1, 2, p) },
		"error": func(p []byte) []byte {
			return ipv4.AppendError(nil, ipv4.TimeExceeded, 0, 0, 0xc0000201, ipv4.AppendUDP(nil, 1, to, from, p))
		},
	} {
		for _, payload := range [][]byte{nil, {1}, {1, 2}, make([]byte, 1001)} {
			pkt := build(payload)
			p, h, ok := ipv4.Check(pkt)
			if !ok || len(p) != len(pkt) || !ipv4.TransportOK(p, h) {
				t.Fatalf("%s with %d bytes: %x", name, len(payload), pkt)
			}
			for i := range min(len(pkt), 60) {
				if name == "UDP" && (i == 26 || i == 27) { // may become "no checksum"
					continue
				}
				pkt[i] ^= 4
				if p, h, ok := ipv4.Check(pkt); ok && ipv4.TransportOK(p, h) {
					t.Errorf("%s: flipped bit in byte %d not noticed", name, i)
				}
				pkt[i] ^= 4
			}
		}
	}
}

// No error is sent about what RFC 1122, 3.2.2 names.
func TestNoErrorAbout(t *testing.T) {
	good := ipv4.AppendUDP(nil, 1, from, to, nil)
	mutate := func(f func([]byte)) []byte {
		b := append([]byte(nil), good...)
		f(b)
		return b
	}
	if len(ipv4.AppendError(nil, ipv4.Unreachable, ipv4.CodePort, 0, 1, good)) == 0 {
		t.Fatal("no error about a plain packet")
	}
	for name, b := range map[string][]byte{
		"an ICMP error":      ipv4.AppendError(nil, ipv4.TimeExceeded, 0, 0, 0x01020304, good),
		"a later fragment":   mutate(func(b []byte) { b[7] = 1 }),
		"multicast":          mutate(func(b []byte) { b[16] = 224 }),
		"broadcast":          mutate(func(b []byte) { copy(b[16:], []byte{255, 255, 255, 255}) }),
		"nobody's packet":    mutate(func(b []byte) { copy(b[12:], []byte{0, 0, 0, 0}) }),
		"a multicast source": mutate(func(b []byte) { b[12] = 239 }),
	} {
		if e := ipv4.AppendError(nil, ipv4.Unreachable, ipv4.CodePort, 0, 1, b); len(e) != 0 {
			t.Errorf("an error about %s: %x", name, e)
		}
	}
}

func TestDecrementTTL(t *testing.T) {
	pkt := ipv4.AppendUDP(nil, 1, from, to, nil)
	for ttl := 64; ttl > 1; ttl-- {
		ipv4.DecrementTTL(pkt)
		if _, _, ok := ipv4.Check(pkt); !ok || int(ipv4.TTL(pkt)) != ttl-1 {
			t.Fatalf("TTL %d: %x", ttl, pkt)
		}
	}
}

func TestNumber(t *testing.T) {
	for s, ok := range map[string]bool{"192.0.2.1": true, "::ffff:192.0.2.1": true, "2001:db8::1": false} {
		n, got := ipv4.Number(netip.MustParseAddr(s))
		if got != ok || ok && ipv4.Addr(n) != from.Addr() {
			t.Errorf("%s: %#x, %v", s, n, got)
		}
	}
	if _, ok := ipv4.Number(netip.Addr{}); ok {
		t.Error("the zero address has a number")
	}
}

// FuzzParse: reading never panics, and what Check returns lies inside b.
func FuzzParse(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(ipv4.AppendUDP(nil, 1, from, to, []byte("x")))
	f.Add(ipv4.AppendTCP(nil, 1, from, to, ipv4.ACK, nil))
	f.Add(ipv4.AppendError(nil, ipv4.Unreachable, ipv4.CodeFragNeeded, 1280, 1, ipv4.AppendUDP(nil, 1, from, to, nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if ipv4.Summary(b) == "" {
			t.Error("no summary")
		}
		p, h, ok := ipv4.Check(b)
		if !ok {
			return
		}
		if h < 20 || h > len(p) || len(p) > len(b) {
			t.Fatalf("header %d, packet %d of %d bytes", h, len(p), len(b))
		}
		ipv4.TransportOK(p, h)
		if e := ipv4.AppendError(nil, ipv4.TimeExceeded, 0, 0, 0x01020304, p); len(e) > 0 {
			if q, h, ok := ipv4.Check(e); !ok || len(q) != len(e) || len(e) > 576 || !ipv4.TransportOK(q, h) {
				t.Fatalf("malformed error %x", e)
			}
		}
	})
}

// RFC 9293, 3.10.7.1: the reset for a segment of no connection acknowledges
// what the segment carried, or takes its acknowledgement as sequence number.
func TestAppendReset(t *testing.T) {
	a, b := netip.MustParseAddrPort("192.0.2.1:10"), netip.MustParseAddrPort("198.51.100.2:20")
	for _, tc := range []struct {
		name    string
		flags   byte
		payload string
		want    string // sequence and acknowledgement number, offset, flags
	}{
		{"SYN", ipv4.SYN, "", "000000000000000150" + "14"},
		{"SYN with data", ipv4.SYN, "abc", "000000000000000450" + "14"},
		{"FIN", ipv4.FIN, "", "000000000000000150" + "14"},
		{"ACK", ipv4.ACK, "abc", "000000000000000050" + "04"},
	} {
		r := ipv4.AppendReset(nil, ipv4.AppendTCP(nil, 1, a, b, tc.flags, []byte(tc.payload)))
		p, h, ok := ipv4.Check(r)
		if !ok || !ipv4.TransportOK(p, h) || ipv4.Addr(ipv4.Dst(p)) != a.Addr() || ipv4.Addr(ipv4.Src(p)) != b.Addr() {
			t.Errorf("%s: %x", tc.name, r)
			continue
		}
		if got := fmt.Sprintf("%x", p[24:34]); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
	for name, pkt := range map[string][]byte{
		"reset": ipv4.AppendTCP(nil, 1, a, b, ipv4.RST, nil),
		"UDP":   ipv4.AppendUDP(nil, 1, a, b, nil),
		"none":  nil,
	} {
		if r := ipv4.AppendReset(nil, pkt); len(r) != 0 {
			t.Errorf("%s is answered with %x", name, r)
		}
	}
}

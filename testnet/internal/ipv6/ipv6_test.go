package ipv6_test

import (
	"encoding/hex"
	"net/netip"
	"testing"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/internal/ipv6"
)

var (
	from = netip.MustParseAddrPort("[2001:db8::1]:1024")
	to   = netip.MustParseAddrPort("[2001:db8:1::2]:53")
)

// A packet spelled by hand, its checksum computed by hand.
func TestAppendUDP(t *testing.T) {
	const want = "60000000000a1140" + "20010db8000000000000000000000001" + "20010db8000100000000000000000002" +
		"04000035000a" + "37c6" + "6869"
	if got := hex.EncodeToString(ipv6.AppendUDP(nil, from, to, []byte("hi"))); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// Every builder makes packets that its own checks accept, of odd and even
// length, and any flipped bit of the upper layer and the addresses is noticed.
func TestBuildersAndChecks(t *testing.T) {
	for name, build := range map[string]func(payload []byte) []byte{
		"UDP":  func(p []byte) []byte { return ipv6.AppendUDP(nil, from, to, p) },
		"TCP":  func(p []byte) []byte { return ipv6.AppendTCP(nil, from, to, ipv4.SYN, p) },
		"echo": func(p []byte) []byte { return ipv6.AppendEcho(nil, ipv6.EchoRequest, from.Addr(), to.Addr(), 1, 2, p) },
		"error": func(p []byte) []byte {
			return ipv6.AppendError(nil, ipv6.TimeExceeded, 0, 0, from.Addr(), ipv6.AppendUDP(nil, to, from, p))
		},
	} {
		for _, payload := range [][]byte{nil, {1}, {1, 2}, make([]byte, 1301)} {
			pkt := build(payload)
			p, ok := ipv6.Check(pkt)
			if !ok || len(p) != len(pkt) || !ipv6.TransportOK(p) {
				t.Fatalf("%s with %d bytes: %x", name, len(payload), pkt)
			}
			for i := 8; i < min(len(pkt), 90); i++ {
				pkt[i] ^= 4
				if p, ok := ipv6.Check(pkt); ok && ipv6.TransportOK(p) {
					t.Errorf("%s: flipped bit in byte %d not noticed", name, i)
				}
				pkt[i] ^= 4
			}
		}
	}
}

// RFC 8200, 4: what stands between the header and the upper layer.
func TestFind(t *testing.T) {
	packet := func(next byte, rest string) []byte {
		b, err := hex.DecodeString(rest)
		if err != nil {
			t.Fatal(err)
		}
		p := ipv6.AppendEcho(nil, 0, from.Addr(), to.Addr(), 0, 0, nil)[:ipv6.HeaderLen]
		p[6], p[4], p[5] = next, byte(len(b)>>8), byte(len(b))
		return append(p, b...)
	}
	const option, udp = "0104000000000000", "0400003500080000"
	for _, tc := range []struct {
		name string
		next byte
		rest string
		want ipv6.Upper
		ok   bool
	}{
		{"none", 17, udp, ipv6.Upper{Proto: 17, At: 40}, true},
		{"options", 0, "11" + "00" + option[4:] + udp, ipv6.Upper{Proto: 17, At: 48}, true},
		{"long routing header", 43, "1101" + "000000000000" + "0000000000000000" + udp, ipv6.Upper{Proto: 17, At: 56}, true},
		{"authentication", 51, "1104" + "000000000000" + "00000000000000000000000000000000" + udp, ipv6.Upper{Proto: 17, At: 64}, true},
		{"first piece", 44, "1100000100000007" + udp, ipv6.Upper{Proto: 17, At: 48, Piece: true}, true},
		{"later piece", 44, "1100004000000007" + udp, ipv6.Upper{Proto: 17, At: 48, Piece: true, Offset: 64}, true},
		{"atomic piece", 44, "1100000000000007" + udp, ipv6.Upper{Proto: 17, At: 48}, true},
		{"cut options", 0, "11000000", ipv6.Upper{}, false},
		{"options beyond the end", 0, "1109000000000000", ipv6.Upper{}, false},
		{"too many", 60, repeat("3c00000000000000", 9), ipv6.Upper{}, false},
	} {
		u, ok := ipv6.Find(packet(tc.next, tc.rest))
		if ok != tc.ok || ok && u != tc.want {
			t.Errorf("%s: %+v, %v, want %+v, %v", tc.name, u, ok, tc.want, tc.ok)
		}
	}
}

func repeat(s string, n int) (out string) {
	for range n {
		out += s
	}
	return out
}

// RFC 8200, 8.1: UDP without a checksum is refused. RFC 4443, 2.4: no error is
// sent about an error or to nobody.
func TestRefusals(t *testing.T) {
	b := ipv6.AppendUDP(nil, from, to, nil)
	if len(ipv6.AppendError(nil, ipv6.TimeExceeded, 0, 0, to.Addr(), b)) == 0 {
		t.Fatal("no error about a plain packet")
	}
	b[46], b[47] = 0, 0
	if ipv6.TransportOK(b) {
		t.Error("UDP without a checksum passes")
	}
	group := netip.MustParseAddrPort("[ff02::1]:1")
	for name, b := range map[string][]byte{
		"an error":       ipv6.AppendError(nil, ipv6.TimeExceeded, 0, 0, to.Addr(), ipv6.AppendUDP(nil, from, to, nil)),
		"a multicast":    ipv6.AppendUDP(nil, from, group, nil),
		"nobody":         ipv6.AppendUDP(nil, netip.MustParseAddrPort("[::]:1"), to, nil),
		"many to answer": ipv6.AppendUDP(nil, group, to, nil),
	} {
		if e := ipv6.AppendError(nil, ipv6.TimeExceeded, 0, 0, to.Addr(), b); len(e) != 0 {
			t.Errorf("an error about %s: %x", name, e)
		}
	}
	if e := ipv6.AppendError(nil, ipv6.PacketTooBig, 0, 1280, to.Addr(), ipv6.AppendUDP(nil, from, group, nil)); len(e) == 0 {
		t.Error("a multicast that is too big is not reported")
	}
}

// Nothing panics, and what is found lies inside the packet.
func FuzzParse(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(ipv6.AppendUDP(nil, from, to, []byte("x")))
	f.Add(ipv6.AppendTCP(nil, from, to, ipv4.ACK, nil))
	f.Add(ipv6.AppendError(nil, ipv6.PacketTooBig, 0, 1280, to.Addr(), ipv6.AppendUDP(nil, from, to, nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if ipv6.Summary(b) == "" {
			t.Error("no summary")
		}
		p, ok := ipv6.Check(b)
		if !ok {
			return
		}
		if u, ok := ipv6.Find(p); ok && (u.At < ipv6.HeaderLen || u.At > len(p)) {
			t.Fatalf("%+v of %d bytes", u, len(p))
		}
		ipv6.TransportOK(p)
		if e := ipv6.AppendError(nil, ipv6.TimeExceeded, 0, 0, to.Addr(), p); len(e) > 0 {
			if q, ok := ipv6.Check(e); !ok || len(q) != len(e) || len(e) > ipv6.MinMTU || !ipv6.TransportOK(q) {
				t.Fatalf("malformed error %x", e)
			}
		}
	})
}

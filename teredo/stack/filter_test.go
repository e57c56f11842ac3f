package stack

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"shipworm/teredo/packet"
)

// ipv6Packet wraps payload; every packet of these tests comes from addrB.
func ipv6Packet(dst netip.Addr, proto byte, hop uint8, payload []byte) []byte {
	b := make([]byte, ipv6HeaderLen, ipv6HeaderLen+len(payload))
	b[0] = 0x60
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	b[6], b[7] = proto, hop
	src, d := addrB.As16(), dst.As16()
	copy(b[8:], src[:])
	copy(b[24:], d[:])
	return append(b, payload...)
}

func sum(dst netip.Addr, proto tcpip.TransportProtocolNumber, payload []byte) uint16 {
	x := header.PseudoHeaderChecksum(proto, tcpip.AddrFrom16(addrB.As16()), tcpip.AddrFrom16(dst.As16()), uint16(len(payload)))
	return ^checksum.Checksum(payload, x)
}

func udpPacket(dst netip.Addr, port uint16, data string) []byte {
	p := make([]byte, 8, 8+len(data))
	binary.BigEndian.PutUint16(p[0:], 40000)
	binary.BigEndian.PutUint16(p[2:], port)
	binary.BigEndian.PutUint16(p[4:], uint16(8+len(data)))
	p = append(p, data...)
	binary.BigEndian.PutUint16(p[6:], sum(dst, header.UDPProtocolNumber, p))
	return ipv6Packet(dst, protoUDP, 64, p)
}

func tcpPacket(dst netip.Addr, port uint16, flags byte) []byte {
	p := make([]byte, 20)
	binary.BigEndian.PutUint16(p[0:], 40000)
	binary.BigEndian.PutUint16(p[2:], port)
	p[7], p[12], p[13] = 1, 5<<4, flags
	binary.BigEndian.PutUint16(p[14:], 8192)
	binary.BigEndian.PutUint16(p[16:], sum(dst, header.TCPProtocolNumber, p))
	return ipv6Packet(dst, protoTCP, 64, p)
}

func icmpPacket(dst netip.Addr, typ byte, hop uint8, body []byte) []byte {
	p := append([]byte{typ, 0, 0, 0}, body...)
	binary.BigEndian.PutUint16(p[2:], sum(dst, header.ICMPv6ProtocolNumber, p))
	return ipv6Packet(dst, protoICMPv6, hop, p)
}

func feed(t testing.TB, s *Stack, b []byte) int {
	t.Helper()
	var p packet.Packet
	p.Set(b, netip.AddrPort{})
	n, err := s.WriteBatch([]packet.Packet{p})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// answers returns the packets that s sent, up to and including the answer to
// an echo request that is put behind all that came before.
func answers(t testing.TB, s *Stack) (before [][]byte) {
	t.Helper()
	if feed(t, s, icmpPacket(addrA, icmpEchoRequest, 64, []byte{0xee, 0xee, 0, 1})) != 1 {
		t.Fatal("the echo request did not get in")
	}
	pkts := packet.NewBatch(64, packet.DefaultSize)
	for {
		n, err := s.ReadBatch(pkts)
		if err != nil {
			t.Fatal(err)
		}
		for i := range pkts[:n] {
			d := pkts[i].Data()
			if d[6] == protoICMPv6 && d[40] == icmpEchoReply && d[44] == 0xee {
				return before
			}
			before = append(before, append([]byte(nil), d...))
		}
	}
}

// A sweep of every TCP and UDP port gets no answer while nothing is open,
// exactly one each while a port is open, none after it closed. T-25
func TestDefaultDeny(t *testing.T) {
	s := newStack(t, Config{}, addrA)
	sweep := func(step int) [][]byte {
		for port := 50123 % step; port <= 65535; port += step {
			feed(t, s, udpPacket(addrA, uint16(port), "hello?"))
			feed(t, s, tcpPacket(addrA, uint16(port), 0x02)) // SYN
			if port%1000 == 0 {
				feed(t, s, tcpPacket(addrA, uint16(port), 0x10)) // stray ACK
			}
		}
		return answers(t, s)
	}
	if got := sweep(1); len(got) != 0 {
		t.Fatalf("%d answers with nothing open; first % x", len(got), got[0])
	}
	if n := s.Drops()[DropClosedPort.String()]; n < 2*65535 {
		t.Errorf("%d drops for closed ports, want at least %d", n, 2*65535)
	}

	pc, err := s.ListenPacket(50123)
	if err != nil {
		t.Fatal(err)
	}
	feed(t, s, udpPacket(addrA, 50123, "welcome"))
	feed(t, s, udpPacket(addrA, 50124, "stranger"))
	buf := make([]byte, 100)
	if n, _, err := pc.ReadFrom(buf); err != nil || string(buf[:n]) != "welcome" {
		t.Errorf("open port read %q, %v", buf[:n], err)
	}
	if got := sweep(16); len(got) != 0 {
		t.Errorf("%d answers with a UDP port open", len(got))
	}
	if n, _, err := pc.ReadFrom(buf); err != nil || string(buf[:n]) != "hello?" {
		t.Errorf("open port read %q, %v", buf[:n], err)
	}
	pc.Close()
	if got := sweep(16); len(got) != 0 {
		t.Errorf("%d answers after the port closed", len(got))
	}
}

// An open TCP port answers, its neighbours do not, and the answer's MSS fits
// the tunnel. T-25, T-34
func TestOpenTCPPortAnswersAlone(t *testing.T) {
	s := newStack(t, Config{}, addrA)
	l, err := s.Listen(50123)
	if err != nil {
		t.Fatal(err)
	}
	for port := 50100; port < 50150; port++ {
		feed(t, s, tcpPacket(addrA, uint16(port), 0x02))
	}
	pkts := packet.NewBatch(1, packet.DefaultSize)
	if _, err := s.ReadBatch(pkts); err != nil {
		t.Fatal(err)
	}
	d := pkts[0].Data()
	tcp := header.TCP(d[40:])
	if tcp.SourcePort() != 50123 || tcp.Flags() != header.TCPFlagSyn|header.TCPFlagAck {
		t.Fatalf("answer from port %d, flags %v", tcp.SourcePort(), tcp.Flags())
	}
	if mss := header.ParseSynOptions(tcp.Options(), true).MSS; mss != 1220 {
		t.Errorf("MSS %d, want 1220", mss)
	}
	l.Close()
}

// What may not enter does not, and nothing of it is answered. T-24, T-25
func TestInboundFilter(t *testing.T) {
	ra := make([]byte, 12)
	tests := []struct {
		name string
		pkt  []byte
		want Drop
	}{
		{"empty", nil, DropMalformed},
		{"IPv4", append([]byte{0x45}, make([]byte, 60)...), DropMalformed},
		{"short header", udpPacket(addrA, 1, "")[:39], DropMalformed},
		{"length beyond the packet", udpPacket(addrA, 1, "abc")[:50], DropMalformed},
		{"trailing bytes", append(udpPacket(addrA, 1, "abc"), 0), DropMalformed},
		{"other destination", udpPacket(addrC, 1, "abc"), DropNotOurs},
		{"all nodes", icmpPacket(netip.MustParseAddr("ff02::1"), icmpEchoRequest, 255, make([]byte, 4)), DropNotOurs},
		{"bubble", ipv6Packet(addrA, 59, 64, nil), DropProtocol},
		{"hop-by-hop options", ipv6Packet(addrA, 0, 64, make([]byte, 8)), DropProtocol},
		{"routing header", ipv6Packet(addrA, 43, 64, make([]byte, 24)), DropProtocol},
		{"destination options", ipv6Packet(addrA, 60, 64, make([]byte, 8)), DropProtocol},
		{"SCTP", ipv6Packet(addrA, 132, 64, make([]byte, 20)), DropProtocol},
		{"IPv6 in IPv6", ipv6Packet(addrA, 41, 64, make([]byte, 40)), DropProtocol},
		{"short ICMPv6", ipv6Packet(addrA, protoICMPv6, 64, []byte{128, 0}), DropMalformed},
		{"fragmented advertisement", ipv6Packet(addrA, protoFragment, 255, append([]byte{58, 0, 0, 1, 0, 0, 0, 1, 134, 0, 0, 0}, ra...)), DropICMP},
		{"fragmented routing header", ipv6Packet(addrA, protoFragment, 64, append([]byte{43, 0, 0, 0, 0, 0, 0, 1}, make([]byte, 24)...)), DropProtocol},
		{"short fragment", ipv6Packet(addrA, protoFragment, 64, []byte{58, 0, 0}), DropMalformed},
	}
	for typ := range 256 {
		switch typ {
		case 1, 2, 3, 4, 128, 129:
			continue
		}
		tests = append(tests, struct {
			name string
			pkt  []byte
			want Drop
		}{"ICMPv6 type " + string(rune('0'+typ/100)) + string(rune('0'+typ/10%10)) + string(rune('0'+typ%10)), icmpPacket(addrA, byte(typ), 255, ra), DropICMP})
	}
	s := newStack(t, Config{}, addrA)
	for _, tt := range tests {
		before := s.Drops()[tt.want.String()]
		if n := feed(t, s, tt.pkt); n != 0 {
			t.Errorf("%s: got in", tt.name)
		}
		if s.Drops()[tt.want.String()] != before+1 {
			t.Errorf("%s: not counted as %v; drops now %v", tt.name, tt.want, s.Drops())
		}
	}
	if got := answers(t, s); len(got) != 0 {
		t.Errorf("%d answers, first % x", len(got), got[0])
	}
}

// The echo is a knob. T-25
func TestNoEcho(t *testing.T) {
	s := newStack(t, Config{NoEcho: true}, addrA)
	if n := feed(t, s, icmpPacket(addrA, icmpEchoRequest, 64, make([]byte, 4))); n != 0 || s.Drops()[DropEcho.String()] != 1 {
		t.Errorf("an echo request got in: %d, drops %v", n, s.Drops())
	}
}

// Errors that gVisor would send about fragments do not leave the host.
func TestNoICMPErrorLeaves(t *testing.T) {
	s := newStack(t, Config{}, addrA)
	if s.outboundAllowed(icmpPacket(addrB, icmpTimeExceeded, 64, make([]byte, 8))) {
		t.Error("a packet from a foreign source may leave")
	}
	own := icmpPacket(addrB, icmpTimeExceeded, 64, make([]byte, 8))
	a := addrA.As16()
	copy(own[8:], a[:])
	if s.outboundAllowed(own) || s.Drops()[DropOutboundICMP.String()] != 1 {
		t.Error("an ICMPv6 error may leave")
	}
	own[40] = icmpEchoReply
	if !s.outboundAllowed(own) {
		t.Error("an echo reply may not leave")
	}
}

// aim gives b the length and destination that let it past the first checks.
func aim(b []byte) []byte {
	if len(b) < ipv6HeaderLen {
		return b
	}
	own := addrA.As16()
	b = append([]byte(nil), b...)
	b[0] = 0x60 | b[0]&0xf
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-ipv6HeaderLen))
	copy(b[24:], own[:])
	return b
}

func seeds() [][]byte {
	return [][]byte{
		udpPacket(addrA, 50123, "seed"),
		tcpPacket(addrA, 50123, 0x02),
		icmpPacket(addrA, icmpEchoRequest, 64, make([]byte, 12)),
		icmpPacket(addrA, icmpPacketTooBig, 64, append(make([]byte, 4), udpPacket(addrB, 1, "x")...)),
		ipv6Packet(addrA, protoFragment, 64, append([]byte{17, 0, 0, 1, 0, 0, 0, 1}, make([]byte, 16)...)),
	}
}

// Whatever enters is TCP, UDP or one of six ICMPv6 types, to our address.
func FuzzInbound(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b)
	}
	s := newStack(f, Config{}, addrA)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, aim(b)} {
			s.outboundAllowed(b)
			if !s.inboundAllowed(b) {
				continue
			}
			if dst := netip.AddrFrom16([16]byte(b[24:40])); dst != addrA || len(b) != 40+int(binary.BigEndian.Uint16(b[4:])) {
				t.Fatalf("let in % x", b)
			}
			proto, at := b[6], 40
			if proto == protoFragment {
				if proto, at = b[40], 48; binary.BigEndian.Uint16(b[42:])>>3 != 0 {
					at = -1 // no first fragment
				}
			}
			switch {
			case proto == protoTCP || proto == protoUDP:
			case proto == protoICMPv6 && (at < 0 || b[at] >= 1 && b[at] <= 4 || b[at] == 128 || b[at] == 129):
			default:
				t.Fatalf("let in protocol %d: % x", proto, b)
			}
		}
	})
}

// Damaged packets do the stack behind the filter no harm.
func TestDamagedPackets(t *testing.T) {
	s := newStack(t, Config{}, addrA)
	if _, err := s.ListenPacket(50123); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Listen(50123); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		all := seeds()
		b := append([]byte(nil), all[r.IntN(len(all))]...)
		for range 1 + r.IntN(4) {
			b[r.IntN(len(b))] = byte(r.Uint32())
		}
		feed(t, s, aim(b[:ipv6HeaderLen+r.IntN(len(b)-ipv6HeaderLen+1)]))
	}
	answers(t, s) // it still works
}

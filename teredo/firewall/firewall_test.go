package firewall

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"shipworm/teredo/wire"
)

var (
	own   = netip.MustParseAddr("2001:0:cb00:7101:3023:317e:39cc:9bf5")
	peer  = netip.MustParseAddr("2001:0:cb00:7101:1001:aaaa:39cc:9beb")
	other = netip.MustParseAddr("2001:db8::7")
	start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

func ip(proto byte, src, dst netip.Addr, upper ...byte) []byte {
	b := make([]byte, wire.HeaderSize, wire.HeaderSize+len(upper))
	b[0], b[6], b[7] = 0x60, proto, 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(upper)))
	s, d := src.As16(), dst.As16()
	copy(b[8:], s[:])
	copy(b[24:], d[:])
	return append(b, upper...)
}

func udp(src netip.Addr, sport uint16, dst netip.Addr, dport uint16) []byte {
	return ip(wire.ProtoUDP, src, dst, byte(sport>>8), byte(sport), byte(dport>>8), byte(dport), 0, 8, 0, 0)
}

func tcp(src netip.Addr, sport uint16, dst netip.Addr, dport uint16, flags byte) []byte {
	u := make([]byte, tcpHeaderLen)
	binary.BigEndian.PutUint16(u, sport)
	binary.BigEndian.PutUint16(u[2:], dport)
	u[12], u[13] = 0x50, flags
	return ip(wire.ProtoTCP, src, dst, u...)
}

func icmp(src, dst netip.Addr, typ byte, rest ...byte) []byte {
	return ip(wire.ProtoICMPv6, src, dst, append([]byte{typ, 0, 0, 0}, rest...)...)
}

func echo(src, dst netip.Addr, typ byte, id uint16) []byte {
	return icmp(src, dst, typ, byte(id>>8), byte(id), 0, 1)
}

// quoting is an ICMPv6 error about a packet.
func quoting(typ byte, quoted []byte) []byte {
	return icmp(other, own, typ, append([]byte{0, 0, 0, 0}, quoted...)...)
}

func fragment(first bool, proto byte, b []byte) []byte {
	off := byte(0)
	if !first {
		off = 8
	}
	f := ip(wire.ProtoFragment, netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40])), proto, 0, 0, off, 0, 0, 0, 9)
	f = append(f, b[wire.HeaderSize:]...)
	binary.BigEndian.PutUint16(f[4:], uint16(len(f)-wire.HeaderSize))
	return f
}

func newFilter(c Config) *Filter {
	f := New(c)
	f.SetAddr(own)
	return f
}

// What comes in without a flow. T-24 T-25
func TestInboundWithoutFlow(t *testing.T) {
	f := newFilter(Config{})
	f.Open(Port{wire.ProtoTCP, 22})
	for _, tt := range []struct {
		name string
		in   []byte
		want Verdict
	}{
		{"TCP SYN", tcp(peer, 1000, own, 80, tcpSYN), Unsolicited},
		{"TCP to an open port", tcp(peer, 1000, own, 22, tcpSYN), Pass},
		{"UDP to a port open for TCP", udp(peer, 1000, own, 22), Unsolicited},
		{"echo request", echo(peer, own, wire.TypeEchoRequest, 1), Pass},
		{"echo reply", echo(peer, own, wire.TypeEchoReply, 1), Unsolicited},
		{"first fragment", fragment(true, wire.ProtoUDP, udp(peer, 1, own, 2)), Unsolicited},
		{"later fragment", fragment(false, wire.ProtoUDP, udp(peer, 1, own, 2)), Pass},
		{"another host's", udp(peer, 1, other, 2), NotOurs},
		{"SCTP", ip(132, peer, own, make([]byte, 20)...), Protocol},
		{"no next header", ip(wire.ProtoNone, peer, own), Protocol},
		{"hop-by-hop options", ip(wire.ProtoHopByHop, peer, own, append([]byte{wire.ProtoUDP, 0, 1, 4, 0, 0, 0, 0}, make([]byte, 8)...)...), Protocol},
		{"routing header", ip(wire.ProtoRouting, peer, own, make([]byte, 8)...), Malformed},
		{"half a UDP header", ip(wire.ProtoUDP, peer, own, 0, 1, 0, 2), Malformed},
		{"half an ICMPv6 header", ip(wire.ProtoICMPv6, peer, own, 128, 0, 0, 0), Malformed},
		{"IPv4", append([]byte{0x45}, make([]byte, 50)...), Malformed},
		{"nothing", nil, Malformed},
		{"error quoting nothing", icmp(other, own, icmpUnreachable, 0, 0, 0, 0), Malformed},
		{"error about a foreign packet", quoting(icmpUnreachable, udp(other, 1, peer, 2)), Unsolicited},
		{"error about no flow", quoting(icmpTooBig, udp(own, 1, peer, 2)), Unsolicited},
		{"error about an error", quoting(icmpTooBig, icmp(own, peer, icmpParameter, 0, 0, 0, 0)), Unsolicited},
	} {
		if got := f.Inbound(start, tt.in); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Of ICMPv6 only echo and errors have any business here, in either
// direction. T-24
func TestICMPTypes(t *testing.T) {
	f := newFilter(Config{})
	for typ := range 256 {
		in := f.Inbound(start, icmp(peer, own, byte(typ), 0, 0, 0, 0))
		out := f.Outbound(start, icmp(own, peer, byte(typ), 0, 0, 0, 0))
		switch {
		case typ >= 1 && typ <= 4: // errors; ours would tell that somebody is here
			if in != Malformed || out != ICMPType {
				t.Errorf("type %d: in %v, out %v", typ, in, out)
			}
		case typ == 128 || typ == 129:
			if in == ICMPType || out != Pass {
				t.Errorf("type %d: in %v, out %v", typ, in, out)
			}
		default:
			if in != ICMPType || out != ICMPType {
				t.Errorf("type %d: in %v, out %v", typ, in, out)
			}
		}
	}
}

// What the host sends.
func TestOutbound(t *testing.T) {
	f := newFilter(Config{})
	for _, tt := range []struct {
		name string
		out  []byte
		want Verdict
	}{
		{"UDP", udp(own, 1, peer, 2), Pass},
		{"fragment", fragment(false, wire.ProtoUDP, udp(own, 1, peer, 2)), Pass},
		{"foreign source", udp(other, 1, peer, 2), Spoofed},
		{"no source yet, to a group", ip(wire.ProtoUDP, netip.IPv6Unspecified(), netip.MustParseAddr("ff02::16"), make([]byte, 8)...), Multicast},
		{"SCTP", ip(132, own, peer, make([]byte, 20)...), Protocol},
		{"short", make([]byte, 39), Malformed},
	} {
		if got := f.Outbound(start, tt.out); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	f.SetAddr(netip.Addr{})
	if v := f.Outbound(start, udp(own, 1, peer, 2)); v != Spoofed {
		t.Errorf("without an address: %v", v)
	}
	if v := f.Inbound(start, udp(peer, 1, own, 2)); v != NotOurs {
		t.Errorf("without an address: %v", v)
	}
}

// Answers come in for as long as the kind of flow lives, from the one they
// were asked of. T-25
func TestFlowLives(t *testing.T) {
	seconds := func(n int) time.Time { return start.Add(time.Duration(n) * time.Second) }
	type step struct {
		at  int // seconds
		out bool
		b   []byte
	}
	for _, tt := range []struct {
		name   string
		steps  []step
		answer []byte
		until  int // seconds: passes a second before, no more then
	}{
		{"UDP", []step{{0, true, udp(own, 5, peer, 53)}}, udp(peer, 53, own, 5), 300},
		{"UDP answered", []step{{0, true, udp(own, 5, peer, 53)}, {200, false, udp(peer, 53, own, 5)}}, udp(peer, 53, own, 5), 500},
		{"SYN", []step{{0, true, tcp(own, 5, peer, 80, tcpSYN)}}, tcp(peer, 80, own, 5, tcpSYN), 240},
		{"established", []step{{0, true, tcp(own, 5, peer, 80, tcpSYN)}, {1, false, tcp(peer, 80, own, 5, tcpSYN)}, {2, true, tcp(own, 5, peer, 80, 0)}}, tcp(peer, 80, own, 5, 0), 2 + 7440},
		{"closing", []step{{0, true, tcp(own, 5, peer, 80, tcpSYN)}, {1, false, tcp(peer, 80, own, 5, tcpSYN)}, {2, true, tcp(own, 5, peer, 80, tcpFIN)}}, tcp(peer, 80, own, 5, 0), 242},
		{"reset by the host", []step{{0, true, tcp(own, 5, peer, 80, tcpRST)}}, tcp(peer, 80, own, 5, 0), 0},
		{"echo", []step{{0, true, echo(own, peer, wire.TypeEchoRequest, 7)}}, echo(peer, own, wire.TypeEchoReply, 7), 60},
		{"error about a flow", []step{{0, true, udp(own, 5, peer, 53)}}, quoting(icmpTooBig, udp(own, 5, peer, 53)), 300},
		{"error about an echo", []step{{0, true, echo(own, peer, wire.TypeEchoRequest, 7)}}, quoting(icmpUnreachable, echo(own, peer, wire.TypeEchoRequest, 7)), 60},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, at := range []int{tt.until - 1, tt.until} {
				f := newFilter(Config{})
				for _, s := range tt.steps {
					if s.out {
						f.Outbound(seconds(s.at), s.b)
					} else if v := f.Inbound(seconds(s.at), s.b); v != Pass {
						t.Fatalf("at %d s: %v", s.at, v)
					}
				}
				if got, want := f.Inbound(seconds(at), tt.answer) == Pass, at >= 0 && at < tt.until; got != want {
					t.Errorf("at %d s: passes %v, want %v", at, got, want)
				}
			}
		})
	}
	f := newFilter(Config{})
	f.Outbound(start, udp(own, 5, peer, 53))
	for name, b := range map[string][]byte{
		"another host": udp(other, 53, own, 5), "another port": udp(peer, 54, own, 5),
		"another local port": udp(peer, 53, own, 6), "another protocol": tcp(peer, 53, own, 5, 0),
	} {
		if v := f.Inbound(start, b); v != Unsolicited {
			t.Errorf("%s: %v", name, v)
		}
	}
	f.SetAddr(peer)
	f.SetAddr(own)
	if v := f.Inbound(start, udp(peer, 53, own, 5)); v != Unsolicited {
		t.Errorf("after a change of the address: %v", v)
	}
}

// All ports: silence but for the open one, and for it too once it is
// closed. T-25
func TestPortSweep(t *testing.T) {
	f := newFilter(Config{})
	count := func() (n int) {
		for port := 1; port < 65536; port++ {
			for _, b := range [][]byte{udp(peer, 9, own, uint16(port)), tcp(peer, 9, own, uint16(port), tcpSYN)} {
				if f.Inbound(start, b) == Pass {
					n++
				}
			}
		}
		return n
	}
	p := Port{wire.ProtoUDP, 50000}
	if n := count(); n != 0 {
		t.Errorf("%d ports answer, want none", n)
	}
	f.Open(p)
	if n := count(); n != 1 {
		t.Errorf("%d ports answer, want one", n)
	}
	f.Outbound(start, udp(own, 50000, peer, 9)) // an answer from there makes no flow
	f.Close(p)
	if n := count(); n != 0 {
		t.Errorf("%d ports answer after the end, want none", n)
	}
}

// The table is bounded, and what is in use stays. T-25
func TestFlowBound(t *testing.T) {
	f := newFilter(Config{Flows: 10})
	for port := range uint16(100) {
		f.Outbound(start, udp(own, port+1, peer, 53))
		if v := f.Inbound(start, udp(peer, 53, own, 1)); v != Pass {
			t.Fatalf("the flow in use was forgotten after %d others", port)
		}
	}
	if n := len(f.flows.index); n != 10 || len(f.flows.slots) > 11 {
		t.Errorf("%d flows in %d slots, want 10", n, len(f.flows.slots))
	}
	f = newFilter(Config{})
	a, b := udp(own, 5, peer, 53), udp(peer, 53, own, 5)
	if n := testing.AllocsPerRun(1000, func() { f.Outbound(start, a); f.Inbound(start, b) }); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
	f = newFilter(Config{NoEcho: true})
	if v := f.Inbound(start, echo(peer, own, wire.TypeEchoRequest, 1)); v != EchoOff {
		t.Errorf("echo off: %v", v)
	}
}

// No bytes make it panic, and without a flow only what may pass does. T-21
func FuzzFilter(f *testing.F) {
	for _, b := range [][]byte{
		udp(peer, 1, own, 2), tcp(peer, 1, own, 2, tcpSYN), echo(peer, own, 129, 1),
		fragment(true, wire.ProtoUDP, udp(peer, 1, own, 2)), quoting(icmpTooBig, udp(own, 1, peer, 2)),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		w := newFilter(Config{})
		if v := w.Inbound(start, b); v == Pass {
			p := wire.Packet(b)
			proto, offset, err := p.Upper()
			if err != nil || p.Destination() != own || proto != wire.ProtoFragment && (proto != wire.ProtoICMPv6 || b[offset] != wire.TypeEchoRequest) {
				t.Errorf("%x passed", b)
			}
		}
		if w.Outbound(start, b) == Pass && wire.Packet(b).Source() != own {
			t.Errorf("%x left", b)
		}
	})
}

// TestContinues: to leave out packets that continue one that passed changes
// neither a verdict nor what is remembered. T-25
func TestContinues(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	skipped := 0
	for range 300 {
		all, brief := newFilter(Config{}), newFilter(Config{})
		for _, f := range []*Filter{all, brief} {
			f.Open(Port{wire.ProtoTCP, 22})
			f.Outbound(start, tcp(own, 1000, peer, 80, tcpSYN))
			f.Outbound(start, udp(own, 1000, peer, 80))
			f.Outbound(start, udp(own, 22, other, 80))
		}
		now := start.Add(time.Duration(rng.IntN(int(2 * tcpTransit))))
		var last []byte
		for range 30 {
			from, port := []netip.Addr{peer, peer, peer, other}[rng.IntN(4)], []uint16{1000, 1000, 1000, 22}[rng.IntN(4)]
			var b []byte
			switch rng.IntN(8) {
			case 0:
				b = udp(from, 80, own, port)
			case 1:
				b = fragment(rng.IntN(2) == 0, wire.ProtoTCP, tcp(from, 80, own, port, 0x10))
			case 2:
				b = [][]byte{tcp(from, 80, own, port, 0x10), udp(from, 80, own, port)}[rng.IntN(2)]
				b = b[:len(b)-rng.IntN(5)]
				b[5] = byte(len(b) - wire.HeaderSize)
			case 3:
				b = tcp(from, 80, own, port, byte(rng.Uint32()))
			default:
				b = tcp(from, 80, own, port, 0x10)
			}
			v := all.Inbound(now, b)
			if last != nil && Continues(last, b) {
				if skipped++; v != Pass {
					t.Fatalf("%x behind %x: %v", b, last, v)
				}
			} else if brief.Inbound(now, b) == Pass {
				last = b
			}
		}
		if !reflect.DeepEqual(all.flows, brief.flows) {
			t.Fatalf("remembered %+v, want %+v", brief.flows, all.flows)
		}
	}
	if skipped < 300 {
		t.Errorf("%d packets continued one", skipped)
	}
}

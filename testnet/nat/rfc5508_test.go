package nat_test

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/nat"
)

// RFC 5508, 3.1, REQ-1a: an identifier is mapped once, whomever it goes to;
// and the NAT may be configured otherwise.
func TestRFC5508_REQ1a_HostIndependent(t *testing.T) {
	for _, mapping := range []nat.Behavior{ei, ad} {
		b := newBench(t, nat.Config{Mapping: mapping, Allocation: nat.Random, Seed: 1})
		px, _ := b.echo(true, ipv4.EchoRequest, inA1.Addr(), outX1.Addr(), 7)
		py, _ := b.echo(true, ipv4.EchoRequest, inA1.Addr(), outY1.Addr(), 7)
		if (echoID(px) == echoID(py)) != (mapping == ei) {
			t.Errorf("%v: %d and %d", mapping, echoID(px), echoID(py))
		}
	}
}

// RFC 5508, 3.2, REQ-2a: the timer can be chosen.
func TestRFC5508_REQ2a_Timer(t *testing.T) {
	b := newBench(t, nat.Config{ICMPLifetime: 90 * time.Second})
	b.echo(true, ipv4.EchoRequest, inA1.Addr(), outX1.Addr(), 7)
	b.livesFor(90 * time.Second)
}

// RFC 5508, 4.1, REQ-3b to 3d: options of the embedded header are skipped, its
// transport checksum is not judged, and extensions behind it are left alone.
func TestRFC5508_REQ3_EmbeddedPacket(t *testing.T) {
	b := newBench(t, nat.Config{Filtering: apd, Allocation: nat.Random, Seed: 2})
	inner := b.udp(inA1, outX1)
	withOptions := slices.Concat(inner[:20], []byte{7, 3, 4, 0}, inner[20:]) // record route
	withOptions[0] = 0x46
	binary.BigEndian.PutUint16(withOptions[2:], uint16(len(withOptions)))
	fix := func(p []byte) {
		p[10], p[11] = 0, 0
		binary.BigEndian.PutUint16(p[10:], ^ipv4.Fold(ipv4.Sum(p[:24], 0)))
	}
	fix(withOptions)
	withOptions[24+6] ^= 0x55 // the transport checksum is wrong
	sent := slices.Clone(withOptions)
	if v := b.outbound(withOptions); v.Action != nat.Forward {
		t.Fatal(v.Reason)
	}
	from, _ := ipv4.Number(addr("198.18.0.1"))
	e := ipv4.AppendError(nil, ipv4.TimeExceeded, 0, 0, from, withOptions)
	// Padding to 128 bytes and an extension object (RFC 4884, 5.5).
	extension := []byte{0x20, 0, 0xde, 0xad, 0, 8, 1, 1, 1, 2, 3, 4}
	e = slices.Concat(e, make([]byte, 128-(len(e)-28)), extension)
	e[25] = 128 / 4
	binary.BigEndian.PutUint16(e[2:], uint16(len(e)))
	sumHeader(e)
	e[22], e[23] = 0, 0
	binary.BigEndian.PutUint16(e[22:], ^ipv4.Fold(ipv4.Sum(e[20:], 0)))
	if v := b.inbound(e); v.Reason != nat.QuotedFlow {
		t.Fatal(v.Reason)
	}
	if got := e[28 : 28+len(sent)]; !slices.Equal(got, sent) {
		t.Errorf("the quote became\n%x, sent was\n%x", got, sent)
	}
	if !slices.Equal(e[28+128:], extension) || e[25] != 32 {
		t.Errorf("the extension became %x", e[28+128:])
	}
}

// RFC 5508, 4.2, REQ-4b and 5b: type and code stay; REQ-4c: the error goes to
// whom the quoted packet came from.
func TestRFC5508_REQ4_REQ5_TypeAndCode(t *testing.T) {
	for kind, codes := range map[byte]byte{ipv4.Unreachable: 15, ipv4.TimeExceeded: 1, ipv4.ParameterError: 2} {
		for code := range codes + 1 {
			b := newBench(t, nat.Config{Allocation: nat.Random})
			pkt := b.udp(inA1, outX1)
			b.outbound(pkt)
			x, _ := ends(pkt)
			router, _ := ipv4.Number(addr("198.18.0.1"))
			e := ipv4.AppendError(nil, kind, code, 0, router, pkt)
			if v := b.inbound(e); v.Action != nat.Forward || e[20] != kind || e[21] != code || ipv4.Addr(ipv4.Dst(e)) != inA1.Addr() {
				t.Errorf("in %d/%d: %v, %s", kind, code, v.Reason, ipv4.Summary(e))
			}
			pkt = b.udp(outX1, x)
			b.inbound(pkt)
			a, _ := ipv4.Number(inA1.Addr())
			e = ipv4.AppendError(nil, kind, code, 0, a, pkt)
			if v := b.outbound(e); v.Action != nat.Forward || e[20] != kind || e[21] != code {
				t.Errorf("out %d/%d: %v", kind, code, v.Reason)
			}
		}
	}
}

// RFC 5508, 4.2.2, REQ-5c: an error of a router on the inside leaves with the
// NAT's own address too.
func TestRFC5508_REQ5c_InsideRouter(t *testing.T) {
	b := newBench(t, nat.Config{})
	x := b.out(inA1, outX1)
	pkt := b.udp(outX1, x)
	b.inbound(pkt)
	e := icmpError(addr("192.168.1.254"), pkt, len(pkt))
	if v := b.outbound(e); v.Action != nat.Forward || ipv4.Addr(ipv4.Src(e)) != x.Addr() {
		t.Errorf("%v: %s", v.Reason, ipv4.Summary(e))
	}
}

// RFC 5508, 4.3, REQ-6: an error about a query neither refreshes nor deletes
// its session.
func TestRFC5508_REQ6_QueryErrors(t *testing.T) {
	b := newBench(t, nat.Config{Refresh: nat.RefreshBoth})
	pkt, _ := b.echo(true, ipv4.EchoRequest, inA1.Addr(), outX1.Addr(), 7)
	b.wait(30 * time.Second)
	if v := b.inbound(icmpError(addr("198.18.0.1"), pkt, len(pkt))); v.Reason != nat.QuotedFlow {
		t.Fatal(v.Reason)
	}
	b.livesFor(30 * time.Second)
}

// RFC 5508, 6, REQ-8 and 7, REQ-9: what cannot be mapped is refused with code
// 13, unless policy is silence. The codes are in TestRFC6888_REQ11_Refusal.
func TestRFC5508_REQ8_REQ9_Refusal(t *testing.T) {
	for _, tc := range []struct {
		c    nat.Config
		want nat.Reason
	}{
		{nat.Config{MaxPerHost: 1}, nat.HostLimitReached},
		{nat.Config{MaxMappings: 1}, nat.TableFull},
		{nat.Config{PortMin: 9, PortMax: 9}, nat.PortsExhausted},
		{nat.Config{HostRate: 1}, nat.HostTooFast},
	} {
		for _, proto := range []byte{ipv4.UDP, ipv4.TCP} {
			for _, refusal := range []nat.Refusal{nat.RefuseSilently, nat.RefuseProhibited} {
				tc.c.Refusal = refusal
				b := newBench(t, tc.c)
				build := func(in string) []byte {
					if proto == ipv4.TCP {
						return ipv4.AppendTCP(nil, 1, ep(in), outX1, syn, nil)
					}
					return b.udp(ep(in), outX1)
				}
				b.outbound(build("10.0.0.1:1"))
				v := b.outbound(build("10.0.0.1:2"))
				if v.Reason != tc.want || (v.Reply != nil) != (refusal != nat.RefuseSilently) {
					t.Errorf("%v: %v with %x", tc.want, v.Reason, v.Reply)
				}
				if v.Reply != nil && (v.Reply[20] != 3 || v.Reply[21] != 13) {
					t.Errorf("reply %x", v.Reply)
				}
			}
		}
	}
}

// RFC 5508, 7, REQ-10: unreachable, time exceeded and echo are supported (a),
// parameter problem is (b5); source quench and information are not (c). REQ-11:
// what is neither query nor error is dropped.
func TestRFC5508_REQ10_REQ11_Messages(t *testing.T) {
	supported := map[byte]bool{ipv4.Unreachable: true, ipv4.TimeExceeded: true, ipv4.ParameterError: true}
	for kind := range 256 {
		b := newBench(t, nat.Config{})
		pkt := b.udp(inA1, outX1)
		b.outbound(pkt)
		e := icmpError(addr("198.18.0.1"), pkt, len(pkt))
		e[20] = byte(kind)
		e[22], e[23] = 0, 0
		binary.BigEndian.PutUint16(e[22:], ^ipv4.Fold(ipv4.Sum(e[20:], 0)))
		v := b.inbound(e)
		if (v.Action == nat.Forward) != supported[byte(kind)] {
			t.Errorf("type %d: %v", kind, v.Reason)
		}
		if kind != ipv4.EchoReply && kind != ipv4.EchoRequest && !supported[byte(kind)] && v.Reason != nat.BadICMP {
			t.Errorf("type %d: %v", kind, v.Reason)
		}
	}
}

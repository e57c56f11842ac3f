package nat_test

import (
	"encoding/json"
	"net/netip"
	"slices"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/nat"
)

// FuzzPacket throws any bytes at both entries of every profile, with flows in
// the tables that they may hit. The engine never panics, touches nothing that
// it drops, and lets nothing malformed out.
func FuzzPacket(f *testing.F) {
	server, external := outX1, ep("203.0.113.1:5000")
	udp := ipv4.AppendUDP(nil, 1, inA1, server, []byte("payload"))
	back := ipv4.AppendUDP(nil, 1, server, external, []byte("payload"))
	seeds := [][]byte{
		udp, back, nil, udp[:27],
		ipv4.AppendUDP(nil, 1, inA1, ep("203.0.113.1:5000"), []byte("hairpin")),
		ipv4.AppendTCP(nil, 1, inA1, server, ipv4.SYN, nil),
		ipv4.AppendTCP(nil, 1, server, external, ipv4.RST, []byte("odd")),
		ipv4.AppendEcho(nil, ipv4.EchoRequest, inA1.Addr(), server.Addr(), 7, 1, nil),
		ipv4.AppendEcho(nil, ipv4.EchoReply, server.Addr(), external.Addr(), 7, 1, nil),
		icmpError(server.Addr(), ipv4.AppendUDP(nil, 1, external, server, []byte("payload")), 28),
		icmpError(inA1.Addr(), ipv4.AppendUDP(nil, 1, server, inA1, []byte("payload")), 35),
		icmpError(inB1.Addr(), ipv4.AppendUDP(nil, 1, external, inB1, nil), 28),
	}
	// The pieces of a datagram, and protocol 41.
	seeds = append(seeds, cut(ipv4.AppendUDP(nil, 9, inA1, server, payload), 24)...)
	six := ipv4.AppendUDP(nil, 1, inA1, server, []byte("an IPv6 packet"))
	six[9] = 41
	sumHeader(six)
	seeds = append(seeds, six, ipv4.AppendUDP(nil, 1, inA1, server, inA1.Addr().AsSlice()))
	for i := range nat.Profiles() {
		for _, s := range seeds {
			f.Add(uint8(i), false, s)
			f.Add(uint8(i), true, s)
		}
	}
	f.Fuzz(func(t *testing.T, profile uint8, repair bool, data []byte) {
		names := nat.Profiles()
		c, _ := nat.Profile(names[int(profile)%len(names)])
		if !c.NoTranslation {
			c.External = []netip.Addr{external.Addr()}
		}
		c.Reject = profile >= 128
		n, err := nat.New(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, warm := range [][]byte{
			ipv4.AppendUDP(nil, 1, inA1, server, nil), ipv4.AppendUDP(nil, 1, inB1, server, nil),
			ipv4.AppendTCP(nil, 1, inA1, server, ipv4.SYN, nil),
			ipv4.AppendEcho(nil, ipv4.EchoRequest, inA1.Addr(), server.Addr(), 7, 1, nil),
		} {
			n.Outbound(start, warm)
		}
		// Most random headers fail their checksum; mended ones get further.
		if repair {
			mendHeader(data)
		}
		for i := range 2 {
			out, in := slices.Clone(data), slices.Clone(data)
			now := start.Add(1 << (i * 33))
			checkPacket(t, data, out, n.Outbound(now, out))
			checkPacket(t, data, in, n.Inbound(now, in))
			if p := n.Poll(now.Add(nat.SYNDelay)); p != nil {
				checkPacket(t, data, slices.Clone(data), nat.Verdict{Reason: nat.SYNHeld, Reply: p})
			}
		}
	})
}

// FuzzConfig builds any configuration that a profile file can spell and runs a
// stream of packets drawn from the input through it: nothing panics, bounds
// hold, and after long enough all tables are empty.
func FuzzConfig(f *testing.F) {
	for _, name := range nat.Profiles() {
		c, _ := nat.Profile(name)
		b, err := json.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, []byte("a few packets, \x00\x01\x02\x83\x84\x85\x46\x47 please"))
	}
	f.Fuzz(func(t *testing.T, file, traffic []byte) {
		var c nat.Config
		if json.Unmarshal(file, &c) != nil || len(traffic) > 4096 {
			return
		}
		if !c.NoTranslation {
			c.External = []netip.Addr{addr("203.0.113.1"), addr("203.0.113.2")}
		}
		n, err := nat.New(c)
		if err != nil {
			return
		}
		now := start
		bound := n.Config().MaxMappings
		for i, x := range traffic {
			in := inside(x&3, 5000+uint16(x>>2&3))
			out := []netip.AddrPort{outX1, outX2, outY1}[x%3]
			ext := netip.AddrPortFrom(addr("203.0.113.1"), 5000+uint16(x&7))
			if rows := n.Mappings(now); len(rows) > 0 && x&64 != 0 {
				ext = rows[int(x)%len(rows)].External
			}
			var pkt []byte
			from, to, run := in, out, n.Outbound
			if x&128 != 0 {
				from, to, run = out, ext, n.Inbound
			}
			switch i % 5 {
			case 0:
				pkt = ipv4.AppendTCP(nil, 1, from, to, 1<<(x%5), payload)
			case 1:
				pkt = cut(ipv4.AppendUDP(nil, uint16(x&1), from, to, payload), 24)[x%3]
			case 2:
				pkt = ipv4.AppendEcho(nil, ipv4.EchoRequest*(1-x>>7), from.Addr(), to.Addr(), uint16(x), 1, nil)
			default:
				pkt = ipv4.AppendUDP(nil, 1, from, to, payload)
			}
			before := slices.Clone(pkt)
			checkPacket(t, before, pkt, run(now, pkt))
			if got := len(n.Mappings(now)); got > bound {
				t.Fatalf("%d mappings, at most %d", got, bound)
			}
			if x == '!' {
				n.Reset()
			}
			now = now.Add(time.Duration(x) * time.Second / 16)
		}
		for {
			rows := n.Mappings(now)
			if len(rows) == 0 {
				break
			}
			if last := rows[0].Expires; last.After(now) {
				now = last
			} else {
				t.Fatalf("%v should have ended at %v, it is %v", rows[0], last, now)
			}
		}
		if s := n.Stats(); s.Expired > s.Created {
			t.Fatalf("%+v", s)
		}
	})
}

func mendHeader(b []byte) {
	if len(b) < 20 {
		return
	}
	h := int(b[0]&15) * 4
	if h < 20 || h > len(b) {
		return
	}
	b[0] = 0x40 | b[0]&15
	if int(b[2])<<8|int(b[3]) > len(b) {
		b[2], b[3] = byte(len(b)>>8), byte(len(b))
	}
	sum := func(p []byte, at int) {
		p[at], p[at+1] = 0, 0
		c := ^ipv4.Fold(ipv4.Sum(p, 0))
		p[at], p[at+1] = byte(c>>8), byte(c)
	}
	sum(b[:h], 10)
	total := int(b[2])<<8 | int(b[3])
	if b[9] != ipv4.ICMP || total < h+8 {
		return
	}
	if q := b[h+8 : total]; b[h] == ipv4.Unreachable && len(q) >= 20 {
		if k := int(q[0]&15) * 4; k >= 20 && k <= len(q) {
			q[0] = 0x40 | q[0]&15
			sum(q[:k], 10)
		}
	}
	sum(b[h:total], 2)
}

package segment

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"testing"
)

// What follows says a second time, slowly and in other words, what a Splitter
// and a Coalescer do. It shares no code with them.

// facts are what matters of a packet; ok says that it is TCP or UDP right behind
// IPv6, whole, and with a right checksum.
type facts struct {
	ok, tcp bool
	flow    string // all that must be the same of neighbours
	seq     uint32
	flags   byte
	payload []byte
}

func read(p []byte) (f facts) {
	if len(p) < 48 || p[0]>>4 != 6 || 40+int(p[4])*256+int(p[5]) != len(p) {
		return f
	}
	at := 8
	switch p[6] {
	case 6:
		f.tcp = true
		if len(p) < 60 {
			return f
		}
		if at = int(p[52]>>4) * 4; at < 20 || 40+at > len(p) {
			return f
		}
		f.seq = uint32(p[44])<<24 | uint32(p[45])<<16 | uint32(p[46])<<8 | uint32(p[47])
		f.flags = p[53]
		f.flow = string(p[0:4]) + string(p[6:44]) + string(p[48:53]) + string(p[54:56]) + string(p[58:40+at])
	case 17:
		if int(p[44])*256+int(p[45]) != len(p)-40 || p[46] == 0 && p[47] == 0 {
			return f
		}
		f.flow = string(p[0:4]) + string(p[6:44])
	default:
		return f
	}
	f.payload = p[40+at:]
	f.ok = slow(pseudo(p)) == 0xffff
	return f
}

// pseudo is a packet as its checksum sees it.
func pseudo(p []byte) []byte {
	return append(append(bytes.Clone(p[8:40]), 0, 0, byte((len(p)-40)>>8), byte(len(p)-40), 0, 0, 0, p[6]), p[40:]...)
}

// joined is how many of pkts a Coalescer should join.
func joined(pkts [][]byte, udp bool) int {
	first := read(pkts[0])
	const alone = 0x01 | 0x02 | 0x04 | 0x08 | 0x20 | 0x80 // FIN, SYN, RST, PSH, URG, CWR
	if !first.ok || len(first.payload) == 0 || first.tcp && first.flags&alone != 0 || !first.tcp && !udp {
		return 1
	}
	seq, total := first.seq, len(pkts[0])-40
	for n, prev := 1, first; ; n++ {
		if n == len(pkts) || n == 128 || len(prev.payload) < len(first.payload) || prev.flags&(0x01|0x08) != 0 {
			return n
		}
		next := read(pkts[n])
		seq += uint32(len(prev.payload))
		total += len(next.payload)
		if !next.ok || next.tcp != first.tcp || next.flow != first.flow || len(next.payload) == 0 || len(next.payload) > len(first.payload) || total > 65535 {
			return n
		}
		if next.tcp && (next.seq != seq || next.flags&^(0x01|0x08) != first.flags) {
			return n
		}
		prev = next
	}
}

// apart is what a Splitter should make of a super-packet.
func apart(super []byte, size int) (out [][]byte) {
	h, tcp := 48, super[6] == 6
	if tcp {
		h = 40 + int(super[52]>>4)*4
	}
	for at := h; at == h || at < len(super); at += size {
		end := min(at+size, len(super))
		p := append(bytes.Clone(super[:h]), super[at:end]...)
		p[4], p[5] = byte((len(p)-40)>>8), byte(len(p)-40)
		sum := p[46:48]
		if tcp {
			seq := uint32(super[44])<<24 + uint32(super[45])<<16 + uint32(super[46])<<8 + uint32(super[47]) + uint32(at-h)
			p[44], p[45], p[46], p[47] = byte(seq>>24), byte(seq>>16), byte(seq>>8), byte(seq)
			if at > h {
				p[53] &= 0x7f // CWR
			}
			if end < len(super) {
				p[53] &= 0xf6 // FIN, PSH
			}
			sum = p[56:58]
		} else {
			p[44], p[45] = p[4], p[5]
		}
		sum[0], sum[1] = 0, 0
		c := ^slow(pseudo(p))
		if c == 0 && !tcp {
			c = 0xffff
		}
		sum[0], sum[1] = byte(c>>8), byte(c)
		out = append(out, p)
	}
	return out
}

// alike compares packets. All ones and all zeros are the same checksum to TCP.
func alike(a, b []byte) bool {
	if len(a) >= 60 && len(b) >= 60 && a[6] == 6 && (a[56] == 0 && a[57] == 0 || a[56] == 0xff && a[57] == 0xff) {
		a, b = bytes.Clone(a), bytes.Clone(b)
		if a[56]^b[56] == 0xff && a[57]^b[57] == 0xff {
			copy(a[56:58], b[56:])
		}
	}
	return bytes.Equal(a, b)
}

// against compares a Coalescer's and a Splitter's work on pkts with the reference.
func against(t *testing.T, pkts [][]byte, udp bool) (most int) {
	t.Helper()
	c := Coalescer{UDP: udp}
	arena := make([]byte, 1<<18)
	for rest := pkts; len(rest) > 0; {
		n, want := c.Next(rest), joined(rest, udp)
		if n != want {
			t.Fatalf("%d packets were joined, want %d:\n%s", n, want, hex.Dump(rest[min(n, want)-1][:min(100, len(rest[min(n, want)-1]))]))
		}
		if n > 1 {
			super := bytes.Clone(c.Header())
			first := read(rest[0])
			if c.HeaderLen() != len(rest[0])-len(first.payload) || len(super) != c.HeaderLen() || c.Size() != len(first.payload) || c.TCP() != first.tcp {
				t.Fatalf("headers of %d bytes, %d a packet, TCP %v", len(super), c.Size(), c.TCP())
			}
			for _, p := range rest[:n] {
				super = append(super, read(p).payload...)
			}
			// A taker that finishes the sum, as the kernel does, has a whole packet.
			if at := 40 + c.ChecksumAt(); be.Uint16(super[at:]) != slow(pseudo(super)[:40]) {
				t.Fatalf("a promise of %04x", be.Uint16(super[at:]))
			}
			if !Finish(super, TransportAt, c.ChecksumAt()) || !read(super).ok {
				t.Fatalf("not a packet:\n%s", hex.Dump(super[:c.HeaderLen()]))
			}
			parts := apart(super, c.Size())
			if len(parts) != n {
				t.Fatalf("%d packets make one of %d", n, len(parts))
			}
			for i := range parts {
				if !alike(parts[i], rest[i]) {
					t.Fatalf("packet %d of %d:\n%swas\n%s", i, n, hex.Dump(parts[i]), hex.Dump(rest[i]))
				}
			}
			splitAgainst(t, super, c.Size(), arena)
			most = max(most, n)
		}
		rest = rest[n:]
	}
	return most
}

// splitAgainst compares what a Splitter makes, in as many parts as it takes, with
// the reference.
func splitAgainst(t *testing.T, super []byte, size int, arena []byte) {
	t.Helper()
	var s Splitter
	if err := s.Begin(super, size); err != nil {
		t.Fatal(err)
	}
	want := apart(super, size)
	for s.More() {
		n, length, err := s.Next(arena)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < n; at += length {
			if got := arena[at:min(at+length, n)]; len(want) == 0 || !bytes.Equal(got, want[0]) {
				t.Fatalf("%d packets left:\n%s", len(want), hex.Dump(got))
			}
			want = want[1:]
		}
	}
	if len(want) > 0 {
		t.Fatalf("%d packets did not come", len(want))
	}
}

// varied makes packets most of which may be joined: streams, of which now and
// then one bit, one length or one checksum is another.
func varied(rng *rand.Rand) (pkts [][]byte) {
	for range 1 + rng.IntN(4) {
		proto := []byte{protoTCP, protoUDP}[rng.IntN(2)]
		options := make([]byte, 4*rng.IntN(11))
		size, seq := 1+rng.IntN(1<<rng.IntN(11)), rng.Uint32()
		quiet := []int{100, 10000}[rng.IntN(2)] // one in how many is odd in some way
		for range 1 + rng.IntN(1<<rng.IntN(9)) {
			part, flags := size, byte(0x10)
			switch rng.IntN(quiet) {
			case 0:
				part = rng.IntN(2 * size)
			case 1:
				flags = byte(rng.Uint32())
			case 2, 3:
				flags |= []byte{flagPSH, flagFIN, flagCWR, flagURG, flagPSH | flagFIN, 0x40}[rng.IntN(6)]
			}
			payload := make([]byte, part)
			for i := range payload {
				payload[i] = byte(rng.Uint32())
			}
			p := build(proto, options, seq, flags, payload)
			switch rng.IntN(quiet) {
			case 0:
				p[rng.IntN(len(p)-part)] ^= 1 << rng.IntN(8) // and a wrong checksum, mostly
			case 1, 2:
				p[rng.IntN(len(p)-part)] ^= 1 << rng.IntN(8)
				mend(p)
			case 3:
				p[rng.IntN(len(p))] ^= 1 << rng.IntN(8)
			case 4:
				p = p[:rng.IntN(len(p)+1)]
			}
			pkts = append(pkts, p)
			seq += uint32(part)
		}
	}
	return pkts
}

// TestReference: a Coalescer joins all that may be joined and nothing else, and
// what it makes is what the reference takes apart into what there was.
func TestReference(t *testing.T) {
	most := 0
	for seed := range uint64(300) {
		most = max(most, against(t, varied(rand.New(rand.NewPCG(seed, 2))), seed%8 != 0))
	}
	if most != maxPackets {
		t.Errorf("at most %d packets were joined: nothing is tested", most)
	}
}

// mend makes the checksum right of a packet that may have nothing else right.
func mend(p []byte) {
	at := map[byte]int{protoTCP: 56, protoUDP: 46}[p[6]]
	if at == 0 || at+2 > len(p) {
		return
	}
	p[at], p[at+1] = 0, 0
	be.PutUint16(p[at:], ^slow(pseudo(p)))
}

// TestEveryHeaderBit: neighbours that differ in any bit of their headers, with
// right checksums, are joined only where the reference does.
func TestEveryHeaderBit(t *testing.T) {
	for _, proto := range []byte{protoTCP, protoUDP} {
		for _, set := range []bool{false, true} {
			first, second := build(proto, []byte{1, 1, 1, 1}, 100, 0x10, fill(50)), build(proto, []byte{1, 1, 1, 1}, 150, 0x10, fill(50))
			for bit := range 8 * HeaderLen(first) {
				a, b := bytes.Clone(first), bytes.Clone(second)
				b[bit/8] ^= 1 << (bit % 8)
				mend(b)
				if set { // in both
					a[bit/8] ^= 1 << (bit % 8)
					mend(a)
				}
				against(t, [][]byte{a, b}, true)
			}
		}
	}
}

// TestChecksumOfZero: the sums that have two forms.
func TestChecksumOfZero(t *testing.T) {
	for _, proto := range []byte{protoTCP, protoUDP} {
		for _, n := range []int{100, 101} { // payloads whose last word makes the sum what it is
			p := build(proto, nil, 7, 0x10, make([]byte, n))
			at := map[byte]int{protoTCP: ip6Size + tcpSum, protoUDP: ip6Size + udpSum}[proto]
			q := build(proto, nil, uint32(7+n), 0x10, make([]byte, n))
			for _, x := range [][]byte{p, q} {
				sum := x[at : at+2]
				copy(x[len(x)-n+10:], sum) // it adds up to nothing without the field
				sum[0], sum[1] = 0, 0
				SetChecksum(x)
				want := []byte{0, 0}
				if proto == protoUDP {
					want = []byte{0xff, 0xff}
				}
				if !bytes.Equal(sum, want) {
					t.Fatalf("protocol %d: %x", proto, sum)
				}
			}
			if most := against(t, [][]byte{p, q}, true); most != 2 {
				t.Errorf("protocol %d: %d packets joined", proto, most)
			}
			if proto == protoTCP {
				q[at], q[at+1] = 0xff, 0xff
				against(t, [][]byte{p, q}, true)
				continue
			}
			// Zeros add up, too, but say that there is none.
			q[at], q[at+1] = 0, 0
			against(t, [][]byte{p, q, p}, true)
			against(t, [][]byte{q, p}, true)
			// What is promised must not become that.
			be.PutUint16(q[at:], slow(pseudo(q)[:40]))
			if !Finish(q, ip6Size, udpSum) || q[at] != 0xff || q[at+1] != 0xff {
				t.Errorf("finished: %x", q[at:at+2])
			}
		}
	}
}

// TestLongest: 44 packets would have a payload of 65,536 bytes.
func TestLongest(t *testing.T) {
	var pkts [][]byte
	for i := range uint32(50) {
		pkts = append(pkts, build(protoTCP, nil, 1489*i, 0x10, fill(1489)))
	}
	if most := against(t, pkts, true); most != 43 {
		t.Errorf("%d packets joined", most)
	}
}

// TestCheckedShape: a right checksum is not enough.
func TestCheckedShape(t *testing.T) {
	for _, proto := range []byte{protoTCP, protoUDP} {
		for at := range 256 {
			p := build(proto, nil, 1, 0x10, fill(20))
			if proto == protoTCP {
				p[52] = byte(at) // header length
			} else {
				p[45] = byte(at) // length
			}
			mend(p)
			want := read(p).ok
			if n := int(p[45]); proto == protoUDP && n >= 8 && n < len(p)-40 {
				short := bytes.Clone(p[:40+n]) // covers n bytes (RFC 9868)
				short[4], short[5] = 0, byte(n)
				mend(short)
				copy(p[40:], short[40:])
				want = true
			} else if proto == protoUDP && n < 8 {
				// As if it covered what is no header.
				p[40], p[41] = 0, 0
				be.PutUint16(p[40:], ^slow(pseudo(p[:40+n])))
			}
			if got := Checked(p); got != want {
				t.Errorf("protocol %d, length field %d: %v", proto, at, got)
			}
		}
	}
}

// TestSplitReference: super-packets of all sizes, also those whose UDP length is
// that of their first segment.
func TestSplitReference(t *testing.T) {
	arena := make([]byte, 1<<18)
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 4))
		proto := []byte{protoTCP, protoUDP}[rng.IntN(2)]
		p := build(proto, make([]byte, 4*rng.IntN(11)), rng.Uint32(), byte(rng.Uint32()), fill(rng.IntN(1<<rng.IntN(16))))
		if proto == protoUDP && rng.IntN(2) == 0 {
			be.PutUint16(p[ip6Size+4:], uint16(rng.Uint32()))
		}
		rng.Uint32()
		be.PutUint16(p[ip6Size+6:], uint16(rng.Uint32()))
		splitAgainst(t, p, 1+rng.IntN(1<<rng.IntN(17)), arena[:max(len(p), rng.IntN(len(arena)))])
	}
}

// FuzzReference: the same for whatever comes. cut says where packets end.
func FuzzReference(f *testing.F) {
	a, b := build(protoTCP, nil, 1000, 0x10, fill(50)), build(protoTCP, nil, 1050, 0x18, fill(50))
	f.Add(append(a, b...), uint16(len(a)), true, true)
	u := build(protoUDP, nil, 0, 0, fill(30))
	f.Add(append(bytes.Clone(u), u...), uint16(len(u)), true, true)
	f.Add(append(bytes.Clone(a), u...), uint16(len(u)), false, true)
	f.Fuzz(func(t *testing.T, data []byte, size uint16, mend, udp bool) {
		if size == 0 || len(data) > 1<<14 {
			return
		}
		data = bytes.Clone(data)
		var pkts [][]byte
		for len(data) > 0 {
			p := data[:min(int(size), len(data))]
			if mend && len(p) > ip6Size { // the fuzzer would never find a right length and checksum
				be.PutUint16(p[4:], uint16(len(p)-ip6Size))
				if p[6] == protoUDP && len(p) >= ip6Size+udpSize {
					be.PutUint16(p[ip6Size+4:], uint16(len(p)-ip6Size))
				}
				SetChecksum(p)
			}
			pkts, data = append(pkts, p), data[len(p):]
		}
		if len(pkts) > 0 {
			against(t, pkts, udp)
		}
	})
}

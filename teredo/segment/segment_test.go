package segment

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
)

var (
	src = netip.MustParseAddr("2001:0:cb00:7178:0:63be:39cc:9bf8")
	dst = netip.MustParseAddr("2001:0:cb00:7178:3cff:63be:39cc:9bf7")
)

// build makes a packet with a right checksum.
func build(proto byte, options []byte, seq uint32, flags byte, payload []byte) []byte {
	p := []byte{0x60, 0x20, 0, 1, 0, 0, proto, 64}
	p = append(p, src.AsSlice()...)
	p = append(p, dst.AsSlice()...)
	if proto == protoTCP {
		p = be.AppendUint16(p, 443)
		p = be.AppendUint16(p, 50000)
		p = be.AppendUint32(p, seq)
		p = be.AppendUint32(p, 77)
		p = append(p, byte(5+len(options)/4)<<4, flags, 1, 2, 0, 0, 0, 0)
		p = append(p, options...)
	} else {
		p = be.AppendUint16(p, 443)
		p = be.AppendUint16(p, 50000)
		p = append(p, 0, 0, 0, 0)
		be.PutUint16(p[ip6Size+4:], uint16(udpSize+len(payload)))
	}
	p = append(p, payload...)
	be.PutUint16(p[4:], uint16(len(p)-ip6Size))
	SetChecksum(p)
	return p
}

// split takes all of a super-packet apart at once.
func split(dst, pkt []byte, size int) (n, length int, err error) {
	var s Splitter
	if err := s.Begin(pkt, size); err != nil {
		return 0, 0, err
	}
	n, length, err = s.Next(dst)
	if err == nil && s.More() {
		err = ErrNoRoom
	}
	return n, length, err
}

func fill(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 31)
	}
	return b
}

// TestSplit: the fields that change from packet to packet.
func TestSplit(t *testing.T) {
	super := build(protoTCP, nil, 0xffffff00, flagPSH|flagFIN|flagCWR|0x10, fill(2500))
	arena := make([]byte, 65536)
	n, length, err := split(arena, super, 1000)
	if err != nil || length != 1060 || n != 2500+3*60 {
		t.Fatal(n, length, err)
	}
	for i, want := range []struct {
		seq   uint32
		flags byte
		size  int
	}{{0xffffff00, flagCWR | 0x10, 1000}, {0x2e8, 0x10, 1000}, {0x6d0, flagPSH | flagFIN | 0x10, 500}} {
		p := arena[i*length : min((i+1)*length, n)]
		if got := build(protoTCP, nil, want.seq, want.flags, fill(2500)[i*1000:][:want.size]); !bytes.Equal(p, got) {
			t.Errorf("packet %d:\n%s", i, hex.Dump(p))
		}
	}
	n, length, err = split(arena, build(protoUDP, nil, 0, 0, fill(999)), 500)
	if err != nil || length != 548 || n != 999+2*48 {
		t.Fatal(n, length, err)
	}
	for i, payload := range [][]byte{fill(999)[:500], fill(999)[500:]} {
		if p := arena[i*length : min((i+1)*length, n)]; !bytes.Equal(p, build(protoUDP, nil, 0, 0, payload)) {
			t.Errorf("packet %d:\n%s", i, hex.Dump(p))
		}
	}
}

func TestSplitRefuses(t *testing.T) {
	tcp := build(protoTCP, nil, 1, 0x10, fill(100))
	mend := func(f func(b []byte)) []byte { b := bytes.Clone(tcp); f(b); return b }
	for name, test := range map[string]struct {
		pkt  []byte
		size int
		room int
		want error
	}{
		"empty":         {nil, 10, 1000, ErrNotSplittable},
		"no size":       {tcp, 0, 1000, ErrNotSplittable},
		"negative size": {tcp, -1, 1000, ErrNotSplittable},
		"IPv4":          {mend(func(b []byte) { b[0] = 0x45 }), 10, 1000, ErrNotSplittable},
		"cut":           {tcp[:90], 10, 1000, ErrNotSplittable},
		"ICMPv6":        {mend(func(b []byte) { b[6] = 58 }), 10, 1000, ErrNotSplittable},
		"long header":   {mend(func(b []byte) { b[52] = 0xf0; be.PutUint16(b[4:], 30) })[:70], 10, 1000, ErrNotSplittable},
		"short header":  {mend(func(b []byte) { b[52] = 0x40 }), 10, 1000, ErrNotSplittable},
		"no room":       {tcp, 10, 699, ErrNoRoom},
	} {
		if _, _, err := split(make([]byte, test.room), test.pkt, test.size); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	if n, _, err := split(make([]byte, 700), tcp, 10); err != nil || n != 700 {
		t.Errorf("exact room: %d, %v", n, err)
	}
}

// TestCoalesce: what goes together, and what must not.
func TestCoalesce(t *testing.T) {
	part := fill(100)
	seg := func(i int, flags byte) []byte { return build(protoTCP, nil, uint32(1000+100*i), flags, part) }
	change := func(p []byte, at int, to byte) []byte {
		p = bytes.Clone(p)
		p[at] = to
		SetChecksum(p)
		return p
	}
	wrong := bytes.Clone(seg(1, 0x10))
	wrong[len(wrong)-1] ^= 1
	udp := build(protoUDP, nil, 0, 0, part)
	noSum := bytes.Clone(udp)
	noSum[46], noSum[47] = 0, 0
	for name, test := range map[string]struct {
		pkts [][]byte
		want int
	}{
		"three":                {[][]byte{seg(0, 0x10), seg(1, 0x10), seg(2, 0x10)}, 3},
		"one":                  {[][]byte{seg(0, 0x10)}, 1},
		"PSH ends":             {[][]byte{seg(0, 0x10), seg(1, 0x18), seg(2, 0x10)}, 2},
		"PSH at first":         {[][]byte{seg(0, 0x18), seg(1, 0x10)}, 1},
		"FIN ends":             {[][]byte{seg(0, 0x10), seg(1, 0x11)}, 2},
		"SYN":                  {[][]byte{seg(0, 0x12), seg(1, 0x12)}, 1},
		"RST behind":           {[][]byte{seg(0, 0x10), seg(1, 0x14)}, 1},
		"CWR first":            {[][]byte{seg(0, 0x90), seg(1, 0x10)}, 1},
		"CWR on both":          {[][]byte{seg(0, 0x90), seg(1, 0x90)}, 1},
		"CWR later":            {[][]byte{seg(0, 0x10), seg(1, 0x90)}, 1},
		"ECE on both":          {[][]byte{seg(0, 0x50), seg(1, 0x50)}, 2},
		"ECE later":            {[][]byte{seg(0, 0x10), seg(1, 0x50)}, 1},
		"gap":                  {[][]byte{seg(0, 0x10), seg(2, 0x10)}, 1},
		"again":                {[][]byte{seg(0, 0x10), seg(0, 0x10)}, 1},
		"wrong checksum":       {[][]byte{seg(0, 0x10), wrong}, 1},
		"wrong at first":       {[][]byte{wrong, seg(2, 0x10)}, 1},
		"ECN mark":             {[][]byte{seg(0, 0x10), change(seg(1, 0x10), 1, 0x30)}, 1},
		"hop limit":            {[][]byte{seg(0, 0x10), change(seg(1, 0x10), 7, 63)}, 1},
		"port":                 {[][]byte{seg(0, 0x10), change(seg(1, 0x10), 41, 1)}, 1},
		"address":              {[][]byte{seg(0, 0x10), change(seg(1, 0x10), 39, 1)}, 1},
		"acknowledgement":      {[][]byte{seg(0, 0x10), change(seg(1, 0x10), 51, 1)}, 1},
		"window":               {[][]byte{seg(0, 0x10), change(seg(1, 0x10), 55, 9)}, 1},
		"options":              {[][]byte{build(protoTCP, []byte{1, 1, 1, 1}, 1, 0x10, part), build(protoTCP, []byte{1, 1, 1, 0}, 101, 0x10, part)}, 1},
		"shorter ends":         {[][]byte{seg(0, 0x10), build(protoTCP, nil, 1100, 0x10, part[:7]), build(protoTCP, nil, 1107, 0x10, part[:7])}, 2},
		"longer":               {[][]byte{build(protoTCP, nil, 1000, 0x10, part[:7]), build(protoTCP, nil, 1007, 0x10, part)}, 1},
		"acknowledgements":     {[][]byte{build(protoTCP, nil, 1, 0x10, nil), build(protoTCP, nil, 1, 0x10, nil)}, 1},
		"UDP":                  {[][]byte{udp, udp, udp}, 3},
		"UDP without checksum": {[][]byte{noSum, udp}, 1},
		"and behind":           {[][]byte{udp, noSum}, 1},
		"TCP and UDP":          {[][]byte{seg(0, 0x10), udp}, 1},
		"not a packet":         {[][]byte{{1, 2, 3}, seg(0, 0x10)}, 1},
	} {
		c := Coalescer{UDP: true}
		if got := c.Next(test.pkts); got != test.want {
			t.Errorf("%s: %d packets, want %d", name, got, test.want)
		}
	}
	var c Coalescer
	if c.Next([][]byte{udp, udp}) != 1 {
		t.Error("UDP was coalesced for one who does not know it")
	}
	many := make([][]byte, 1000)
	for i := range many {
		many[i] = seg(i, 0x10)
	}
	if n := c.Next(many); n != maxPackets {
		t.Errorf("%d packets in the longest", n)
	}
	part = fill(1000)
	for i := range many {
		many[i] = build(protoTCP, nil, uint32(1000*i), 0x10, part)
	}
	if n := c.Next(many); n != (MaxPayload-20)/1000 {
		t.Errorf("%d packets in the longest", n)
	}
}

// whole returns the super-packet of n packets.
func whole(c *Coalescer, pkts [][]byte) []byte {
	out := bytes.Clone(c.Header())
	for _, p := range pkts {
		out = append(out, p[c.HeaderLen():]...)
	}
	return out
}

// roundTrip coalesces and splits again, and compares byte by byte.
func roundTrip(t *testing.T, pkts [][]byte) (super int) {
	c := Coalescer{UDP: true}
	arena := make([]byte, 1<<17)
	for rest := pkts; len(rest) > 0; {
		n := c.Next(rest)
		if n < 1 || n > len(rest) {
			t.Fatalf("%d of %d packets", n, len(rest))
		}
		if n > 1 {
			super++
			out, length, err := split(arena, whole(&c, rest[:n]), c.Size())
			if err != nil || out != (n-1)*length+len(rest[n-1]) {
				t.Fatalf("%d packets: %d bytes in packets of %d, %v", n, out, length, err)
			}
			for i := range n {
				if got := arena[i*length:][:len(rest[i])]; !bytes.Equal(got, rest[i]) {
					t.Fatalf("packet %d of %d:\n%swas\n%s", i, n, hex.Dump(got), hex.Dump(rest[i]))
				}
			}
		}
		rest = rest[n:]
	}
	return super
}

// TestRoundTrip: streams that were split in many ways come back as they were.
func TestRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	super := 0
	for range 200 {
		var pkts [][]byte
		for range 1 + rng.IntN(4) {
			proto := byte(protoTCP)
			if rng.IntN(2) == 0 {
				proto = protoUDP
			}
			arena := make([]byte, 1<<17)
			p := build(proto, make([]byte, 4*rng.IntN(11)), rng.Uint32(), 0x10|byte(rng.IntN(2))*flagPSH, fill(1+rng.IntN(40000)))
			n, length, err := split(arena, p, 500+rng.IntN(900))
			if err != nil {
				t.Fatal(err)
			}
			for at := 0; at < n; at += length {
				pkts = append(pkts, arena[at:min(at+length, n)])
			}
		}
		for range rng.IntN(3) {
			i, j := rng.IntN(len(pkts)), rng.IntN(len(pkts))
			pkts[i], pkts[j] = pkts[j], pkts[i]
		}
		super += roundTrip(t, pkts)
	}
	if super < 200 {
		t.Errorf("only %d super-packets", super)
	}
}

// FuzzCoalesce: nothing breaks it, and what it makes splits into what it was
// given.
func FuzzCoalesce(f *testing.F) {
	a, b := build(protoTCP, nil, 1000, 0x10, fill(50)), build(protoTCP, nil, 1050, 0x18, fill(50))
	f.Add(append(a, b...), uint16(len(a)))
	u := build(protoUDP, nil, 0, 0, fill(30))
	f.Add(append(bytes.Clone(u), u...), uint16(len(u)))
	f.Fuzz(func(t *testing.T, data []byte, size uint16) {
		if size == 0 || len(data) > 1<<16 {
			return
		}
		var pkts [][]byte
		for len(data) > 0 {
			n := min(int(size), len(data))
			if n > ip6Size { // the fuzzer would never find a right length and checksum
				be.PutUint16(data[4:], uint16(n-ip6Size))
				if data[6] == protoUDP && n >= ip6Size+udpSize {
					be.PutUint16(data[ip6Size+4:], uint16(n-ip6Size))
				}
				SetChecksum(data[:n])
			}
			pkts = append(pkts, data[:n])
			data = data[n:]
		}
		if len(pkts) > 0 {
			roundTrip(t, pkts)
		}
	})
}

// Nothing is allocated on the way.
func TestAllocations(t *testing.T) {
	super := build(protoTCP, nil, 1, 0x10, fill(60000))
	arena := make([]byte, 1<<17)
	pkts := make([][]byte, 0, 64)
	c := Coalescer{UDP: true}
	var s Splitter
	if n := testing.AllocsPerRun(10, func() {
		if err := s.Begin(super, 1220); err != nil {
			t.Fatal(err)
		}
		n, length, _ := s.Next(arena)
		pkts = pkts[:0]
		for at := 0; at < n; at += length {
			pkts = append(pkts, arena[at:min(at+length, n)])
		}
		if c.Next(pkts) != len(pkts) {
			t.Error("not one super-packet")
		}
		c.Header()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSplit(b *testing.B) {
	super, arena := build(protoTCP, nil, 1, 0x10, fill(50*1220)), make([]byte, 1<<17)
	b.SetBytes(50 * 1220)
	for b.Loop() {
		if _, _, err := split(arena, super, 1220); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/50, "ns/packet")
}

func BenchmarkCoalesce(b *testing.B) {
	super, arena := build(protoTCP, nil, 1, 0x10, fill(50*1220)), make([]byte, 1<<17)
	n, length, _ := split(arena, super, 1220)
	var pkts [][]byte
	for at := 0; at < n; at += length {
		pkts = append(pkts, arena[at:min(at+length, n)])
	}
	var c Coalescer
	b.SetBytes(50 * 1220)
	for b.Loop() {
		if c.Next(pkts) != 50 {
			b.Fatal("not one super-packet")
		}
		c.Header()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/50, "ns/packet")
}

// TestFinish: a promised checksum is kept wherever the transport header begins,
// and a promise that makes no sense is none.
func TestFinish(t *testing.T) {
	for _, ext := range []int{0, 8, 24} {
		for _, proto := range []byte{protoTCP, protoUDP} {
			want := build(proto, nil, 1, 0x10, fill(101))
			at := map[byte]int{protoTCP: tcpSum, protoUDP: udpSum}[proto]
			p := bytes.Clone(want)
			be.PutUint16(p[ip6Size+at:], uint16(fold(sum(p[8:ip6Size], uint64(len(p)-ip6Size)+uint64(proto)))))
			p = append(append(bytes.Clone(p[:ip6Size]), make([]byte, ext)...), p[ip6Size:]...)
			if !Finish(p, ip6Size+ext, at) || !bytes.Equal(p[ip6Size+ext:], want[ip6Size:]) {
				t.Errorf("protocol %d behind %d bytes:\n%s", proto, ext, hex.Dump(p[ip6Size+ext:][:20]))
			}
		}
	}
	p := build(protoUDP, nil, 0, 0, fill(10))
	for name, x := range map[string][2]int{
		"within the header": {8, 6}, "behind the end": {ip6Size, len(p) - ip6Size - 1}, "far behind": {65535, 65535}, "negative": {40, -1},
	} {
		if b := bytes.Clone(p); Finish(b, x[0], x[1]) || !bytes.Equal(b, p) {
			t.Errorf("%s: changed", name)
		}
	}
}

// TestChecked: what a taker that looks at no checksum may be given.
func TestChecked(t *testing.T) {
	change := func(p []byte, f func(p []byte)) []byte { p = bytes.Clone(p); f(p); return p }
	tcp, udp := build(protoTCP, nil, 1, 0x10, fill(30)), build(protoUDP, nil, 0, 0, fill(30))
	surplus := append(bytes.Clone(udp), 1, 2, 3)
	be.PutUint16(surplus[4:], uint16(len(surplus)-ip6Size))
	for name, test := range map[string]struct {
		pkt  []byte
		want bool
	}{
		"TCP":                  {tcp, true},
		"UDP":                  {udp, true},
		"ICMPv6":               {change(tcp, func(p []byte) { p[6] = 58 }), true},
		"wrong":                {change(tcp, func(p []byte) { p[70]++ }), false},
		"UDP without checksum": {change(udp, func(p []byte) { p[46], p[47] = 0, 0 }), false},
		"UDP options":          {surplus, true},
		"wrong before options": {change(surplus, func(p []byte) { p[50]++ }), false},
		"UDP length too long":  {change(udp, func(p []byte) { p[45]++ }), false},
		"UDP length of zero":   {change(udp, func(p []byte) { p[44], p[45] = 0, 0 }), false},
		"TCP header too long":  {change(tcp, func(p []byte) { p[52] = 0xf0; SetChecksum(p) })[:80], false},
		"half a UDP header":    {udp[:44], false},
	} {
		if got := Checked(test.pkt); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

package segment

import "math/bits"

// sum adds b to a one's complement sum (RFC 1071) of big-endian 16-bit words;
// the result wants fold. It adds in the machine's own order, which only
// exchanges the bytes of the result.
func sum(b []byte, acc uint64) uint64 {
	s, rest := sumWide(b)
	s = bits.ReverseBytes64(sumWords(rest, s))
	return acc + s>>32 + s&0xffffffff // far from overflow
}

// sumWords adds b to a sum of little-endian words. It takes eight bytes at a
// time, in two chains of carries, which a processor follows side by side.
func sumWords(b []byte, s uint64) uint64 {
	var t, c, d uint64 // the second chain, and the carries of both
	for len(b) >= 128 {
		w := (*[128]byte)(b)
		s, c = bits.Add64(s, le.Uint64(w[0:]), c)
		s, c = bits.Add64(s, le.Uint64(w[8:]), c)
		s, c = bits.Add64(s, le.Uint64(w[16:]), c)
		s, c = bits.Add64(s, le.Uint64(w[24:]), c)
		s, c = bits.Add64(s, le.Uint64(w[32:]), c)
		s, c = bits.Add64(s, le.Uint64(w[40:]), c)
		s, c = bits.Add64(s, le.Uint64(w[48:]), c)
		s, c = bits.Add64(s, le.Uint64(w[56:]), c)
		t, d = bits.Add64(t, le.Uint64(w[64:]), d)
		t, d = bits.Add64(t, le.Uint64(w[72:]), d)
		t, d = bits.Add64(t, le.Uint64(w[80:]), d)
		t, d = bits.Add64(t, le.Uint64(w[88:]), d)
		t, d = bits.Add64(t, le.Uint64(w[96:]), d)
		t, d = bits.Add64(t, le.Uint64(w[104:]), d)
		t, d = bits.Add64(t, le.Uint64(w[112:]), d)
		t, d = bits.Add64(t, le.Uint64(w[120:]), d)
		b = b[128:]
	}
	for len(b) >= 32 {
		w := (*[32]byte)(b)
		s, c = bits.Add64(s, le.Uint64(w[0:]), c)
		s, c = bits.Add64(s, le.Uint64(w[8:]), c)
		s, c = bits.Add64(s, le.Uint64(w[16:]), c)
		s, c = bits.Add64(s, le.Uint64(w[24:]), c)
		b = b[32:]
	}
	for len(b) >= 8 {
		t, d = bits.Add64(t, le.Uint64(b), d)
		b = b[8:]
	}
	var last uint64
	if len(b) >= 4 {
		last, b = uint64(le.Uint32(b)), b[4:]
	}
	if len(b) >= 2 {
		last, b = last+uint64(le.Uint16(b)), b[2:]
	}
	if len(b) == 1 {
		last += uint64(b[0])
	}
	s, c = bits.Add64(s, last, c)
	s, c = bits.Add64(s, t, c)
	s, c = bits.Add64(s, d, c)
	return s + c
}

// fold brings a sum to 16 bits.
func fold(s uint64) uint64 {
	s = s>>32 + s&0xffffffff
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return s>>16 + s&0xffff
}

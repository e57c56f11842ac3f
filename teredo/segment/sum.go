package segment

import "math/bits"

// sum adds b to a one's complement sum (RFC 1071) of big-endian 16-bit words;
// the result wants fold. It adds eight bytes at a time, in the machine's own
// order, which only exchanges the halves of the result, and in two chains of
// carries, which a processor follows side by side.
func sum(b []byte, acc uint64) uint64 {
	var s, t, c, d uint64 // the chains, and their carries
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
	for i, v := range b {
		last |= uint64(v) << (8 * i)
	}
	s, c = bits.Add64(s, last, c)
	s, c = bits.Add64(s, t, c)
	s, c = bits.Add64(s, d, c)
	s += c
	return acc + uint64(bits.ReverseBytes16(uint16(fold(s))))
}

// fold brings a sum to 16 bits.
func fold(s uint64) uint64 {
	s = s>>32 + s&0xffffffff
	s = s>>32 + s&0xffffffff
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return s>>16 + s&0xffff
}

package segment

import (
	"encoding/binary"
	"math/bits"
)

// sum adds b to a one's complement sum (RFC 1071) of big-endian 16-bit words;
// the result wants fold. It adds eight bytes at a time, in the machine's own
// order, which only exchanges the halves of the result.
func sum(b []byte, acc uint64) uint64 {
	var s, carry uint64
	for len(b) >= 64 {
		w := b[:64:64]
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(w), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(w[8:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(w[16:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(w[24:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(w[32:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(w[40:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(w[48:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(w[56:]), carry)
		b = b[64:]
	}
	for len(b) >= 8 {
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b), carry)
		b = b[8:]
	}
	if len(b) > 0 {
		var last [8]byte
		copy(last[:], b)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(last[:]), carry)
	}
	s, carry = bits.Add64(s, 0, carry)
	s += carry
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

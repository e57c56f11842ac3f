package ipv4

// Sum adds the 16-bit words of b to acc (RFC 1071), an odd last byte as the
// high half of a word. b must be shorter than 128 KiB.
func Sum(b []byte, acc uint32) uint32 {
	for len(b) >= 8 {
		acc += uint32(be.Uint16(b)) + uint32(be.Uint16(b[2:])) +
			uint32(be.Uint16(b[4:])) + uint32(be.Uint16(b[6:]))
		acc = acc&0xffff + acc>>16
		b = b[8:]
	}
	for len(b) >= 2 {
		acc += uint32(be.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		acc += uint32(b[0]) << 8
	}
	return acc
}

// Fold reduces a sum to 16 bits with end-around carry.
func Fold(acc uint32) uint16 {
	acc = acc&0xffff + acc>>16
	acc = acc&0xffff + acc>>16
	return uint16(acc)
}

// A Delta collects changed words and applies them to a checksum that covers
// them (RFC 1624, equation 3), so that a packet with a wrong checksum keeps a
// wrong one: a translator must not repair what it did not verify.
type Delta uint32

// Replace16 records that the word old became new.
func (d *Delta) Replace16(old, new uint16) {
	*d += Delta(^old) + Delta(new)
}

// Replace32 records that the aligned pair of words old became new.
func (d *Delta) Replace32(old, new uint32) {
	d.Replace16(uint16(old>>16), uint16(new>>16))
	d.Replace16(uint16(old), uint16(new))
}

// Apply returns the checksum after the recorded changes.
func (d Delta) Apply(check uint16) uint16 {
	return ^Fold(uint32(d) + uint32(^check))
}

// ApplyUDP is Apply under UDP's two rules: zero means "no checksum" and stays,
// and a computed zero is sent as all ones (RFC 768).
func (d Delta) ApplyUDP(check uint16) uint16 {
	if check == 0 {
		return 0
	}
	if c := d.Apply(check); c != 0 {
		return c
	}
	return 0xffff
}

// pseudo is the sum of the pseudo header that UDP and TCP checksums cover.
func pseudo(src, dst uint32, proto byte, length int) uint32 {
	return src>>16 + src&0xffff + dst>>16 + dst&0xffff + uint32(proto) + uint32(length)
}

// TransportOK reports whether the UDP, TCP or ICMP checksum of a packet that
// passed Check is right. Fragments and other protocols are reported as right,
// for nothing can be said about them.
func TransportOK(pkt []byte, header int) bool {
	b := pkt[header:]
	if Fragment(pkt) {
		return true
	}
	switch Proto(pkt) {
	case ICMP:
		return len(b) >= 8 && Fold(Sum(b, 0)) == 0xffff
	case TCP:
		return len(b) >= 20 && Fold(Sum(b, pseudo(Src(pkt), Dst(pkt), TCP, len(b)))) == 0xffff
	case UDP:
		if len(b) < 8 {
			return false
		}
		n := int(be.Uint16(b[4:]))
		if n < 8 || n > len(b) {
			return false
		}
		return be.Uint16(b[6:]) == 0 || Fold(Sum(b[:n], pseudo(Src(pkt), Dst(pkt), UDP, n))) == 0xffff
	}
	return true
}

package pake

import (
	"crypto/sha512"

	"github.com/bwesterb/go-ristretto"
)

// Domain separation of the suite. draft-irtf-cfrg-cpace-21, 8.3, 7.2 and 10.4
const (
	labelDSI = "CPaceRistretto255"
	labelISK = labelDSI + "_ISK"
	labelMAC = "CPaceMac"
)

// appendLV appends b with its length in LEB128 in front of it.
func appendLV(dst, b []byte) []byte {
	n := len(b)
	for n >= 0x80 {
		dst = append(dst, byte(n)|0x80)
		n >>= 7
	}
	dst = append(dst, byte(n))
	return append(dst, b...)
}

// lvCat is the draft's lv_cat: its prefix-free encoding of a list of strings.
func lvCat(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = appendLV(out, p)
	}
	return out
}

// generatorString is the draft's generator_string for this suite: the zeros
// fill the first SHA-512 block, so that the time taken over the secret does
// not depend on what follows it. draft-irtf-cfrg-cpace-21, 8.1
func generatorString(secret, channel, sid []byte) []byte {
	head := lvCat([]byte(labelDSI), secret)
	pad := max(0, sha512.BlockSize-1-len(head))
	out := appendLV(head, make([]byte, pad))
	out = appendLV(out, channel)
	return appendLV(out, sid)
}

// deriveElement hashes to 64 bytes and maps each half to the group, the
// element derivation function of RFC 9496, 4.3.4.
func deriveElement(seed []byte) *ristretto.Point {
	return new(ristretto.Point).DeriveDalek(seed)
}

func multiply(s *ristretto.Scalar, p *ristretto.Point) (out [ShareSize]byte) {
	new(ristretto.Point).ScalarMult(p, s).BytesInto(&out)
	return out
}

// multiplyVerify is the draft's scalar_mult_vfy: false stands for G.I, on
// which a party must abort. Decoding refuses non-canonical encodings.
func multiplyVerify(s *ristretto.Scalar, encoded []byte) (out [ShareSize]byte, ok bool) {
	var buf [ShareSize]byte
	copy(buf[:], encoded)
	var p ristretto.Point
	if !p.SetBytes(&buf) {
		return out, false
	}
	out = multiply(s, &p)
	return out, out != [ShareSize]byte{}
}

package segment

import "golang.org/x/sys/cpu"

// wideMin is from where on this is the faster way, in bytes.
const wideMin = 128

// sumWide adds up the beginning of b, in the machine's own order, and returns
// what is left of it.
func sumWide(b []byte) (s uint64, rest []byte) {
	if len(b) < wideMin || !cpu.X86.HasAVX2 {
		return 0, b
	}
	n := len(b) &^ 31
	return sumAVX2(&b[0], n), b[n:]
}

// sumAVX2 adds up words of 32 bits, n bytes of them: a multiple of 32, and not
// 2^34 or more. The sum does not overflow.
//
//go:noescape
func sumAVX2(p *byte, n int) uint64

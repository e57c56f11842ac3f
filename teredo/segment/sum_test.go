package segment

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// slow is RFC 1071 as it is written there.
func slow(b []byte) uint16 {
	var s uint32
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		s += w
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// TestSum: every length and every alignment, with as many carries as there can
// be, too, and whatever stands around it.
func TestSum(t *testing.T) {
	random := make([]byte, 4096+64+64)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	for name, all := range map[string][]byte{
		"random": random, "ones": bytes.Repeat([]byte{0xff}, len(random)), "zeros": make([]byte, len(random)),
	} {
		for n := range 4097 {
			at := n * 7 % 64
			checkSum(t, name, all[at:][:n])
			checkSum(t, name, all[at/2:][:n])
		}
		for at := range 64 {
			for _, n := range []int{0, 1, 127, 128, 129, 159, 160, 161, 191, 192, 255, 256, 257, 1220, 1272} {
				checkSum(t, name, all[at:][:n])
			}
		}
	}
	// RFC 1071, 3.
	if got := fold(sum([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}, 0)); got != 0xddf2 {
		t.Errorf("%04x, want ddf2", got)
	}
}

// checkSum compares sum with its reference and with that of the RFC, zero
// included: only of zeros is the sum zero.
func checkSum(t *testing.T, name string, b []byte) {
	t.Helper()
	want := slow(b)
	if got := uint16(fold(sum(b, 0))); got != want {
		t.Fatalf("%s, %d bytes: %04x, want %04x", name, len(b), got, want)
	}
	if got := uint16(fold(sumWords(b, 0))); got>>8|got<<8 != want {
		t.Fatalf("%s, %d bytes by words: %04x, want %04x with its halves exchanged", name, len(b), got, want)
	}
}

// FuzzSum: also with something to add it to.
func FuzzSum(f *testing.F) {
	f.Add([]byte{1}, uint32(0))
	f.Add(bytes.Repeat([]byte{0xff}, 300), uint32(0xffffffff))
	f.Add(fill(1272), uint32(1))
	f.Fuzz(func(t *testing.T, b []byte, acc uint32) {
		for at := range min(len(b), 3) {
			checkSum(t, "fuzz", b[at:])
		}
		with := slices.Concat([]byte{byte(acc >> 24), byte(acc >> 16), byte(acc >> 8), byte(acc)}, b)
		if got, want := uint16(fold(sum(b, uint64(acc)))), slow(with); got != want {
			t.Fatalf("%d bytes and %d: %04x, want %04x", len(b), acc, got, want)
		}
	})
}

// BenchmarkSum: what the caches of the first and of the second level hold, by the
// vector unit, where there is one, and by words.
func BenchmarkSum(b *testing.B) {
	var sink uint64
	for _, way := range []struct {
		name string
		sum  func([]byte, uint64) uint64
	}{{"sum", sum}, {"words", sumWords}} {
		for _, n := range []int{64, 128, 256, 1220} {
			for _, in := range []struct {
				name string
				size int
			}{{"L1", 16 << 10}, {"L2", 512 << 10}} {
				data := fill(in.size)
				b.Run(fmt.Sprintf("%s/%d/%s", way.name, n, in.name), func(b *testing.B) {
					b.SetBytes(int64(n))
					at := 0
					for b.Loop() {
						if at+n > len(data) {
							at = 0
						}
						sink += way.sum(data[at:at+n], 0)
						at += n
					}
				})
			}
		}
	}
	_ = sink
}

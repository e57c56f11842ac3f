package segment

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

// TestSplitInParts: a super-packet that does not fit goes on where it stopped.
func TestSplitInParts(t *testing.T) {
	for _, proto := range []byte{protoTCP, protoUDP} {
		super := build(proto, nil, 1, 0x18, fill(5050))
		all := make([]byte, 1<<16)
		n, length, err := split(all, super, 100)
		if err != nil {
			t.Fatal(err)
		}
		var s Splitter
		if err := s.Begin(super, 100); err != nil {
			t.Fatal(err)
		}
		var got []byte
		for s.More() {
			if _, _, err := s.Next(make([]byte, 40)); !errors.Is(err, ErrNoRoom) {
				t.Fatal(err)
			}
			part := make([]byte, 3*length+7)
			n, _, err := s.Next(part)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, part[:n]...)
		}
		if !bytes.Equal(got, all[:n]) {
			t.Errorf("protocol %d: in parts it is another", proto)
		}
	}
}

// pieces cuts b into one to ten, some of them empty.
func pieces(rng *rand.Rand, b []byte) (all [][]byte) {
	for range rng.IntN(10) {
		n := rng.IntN(len(b) + 1)
		all, b = append(all, b[:n:n]), b[n:]
	}
	return append(all, b)
}

// FuzzSplit: nothing breaks it, it stays within its room, and where the pieces
// of a super-packet end makes no difference.
func FuzzSplit(f *testing.F) {
	f.Add(build(protoTCP, nil, 1000, 0x10, fill(500)), 100, 2000, uint64(1))
	f.Add(build(protoUDP, nil, 0, 0, fill(500)), 100, 700, uint64(2))
	f.Add(build(protoTCP, make([]byte, 12), 1000, 0x19, fill(5001)), 1001, 9000, uint64(3))
	f.Add(build(protoTCP, nil, 1000, 0x10, nil), 10, 700, uint64(4))
	f.Fuzz(func(t *testing.T, pkt []byte, size, room int, seed uint64) {
		if room < 0 || room > 1<<17 {
			return
		}
		whole := make([]byte, room)
		n, length, err := split(whole, pkt, size)
		if err == nil && (n > room || length <= ip6Size || n < len(pkt)) {
			t.Errorf("%d bytes in packets of %d", n, length)
		}
		rng := rand.New(rand.NewPCG(seed, 1))
		for range 8 {
			var s Splitter
			cut := make([]byte, room)
			got := s.BeginParts(pieces(rng, pkt), size)
			m := 0
			if got == nil {
				if m, _, got = s.Next(cut); got == nil && s.More() {
					got = ErrNoRoom
				}
			}
			if (err == nil) != (got == nil) || m != n || !bytes.Equal(cut, whole) {
				t.Fatalf("in pieces %d bytes and %v, whole %d and %v", m, got, n, err)
			}
		}
	})
}

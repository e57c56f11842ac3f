package trace

import "bytes"

// chunk is how much a store asks for at a time, in bytes.
const chunk = 256 << 10

// A store keeps bytes for good, up to a limit.
type store struct {
	left  int
	space []byte
	last  []byte
}

// keep returns a copy of b that stays, or false if there is no room. The copy
// is shared with like and with what was kept last, if they are equal: most
// sightings of a packet follow one of the same bytes.
func (s *store) keep(b, like []byte) ([]byte, bool) {
	if len(b) == 0 {
		return nil, true
	}
	if bytes.Equal(b, like) {
		return like, true
	}
	if bytes.Equal(b, s.last) {
		return s.last, true
	}
	if len(b) > s.left {
		return nil, false
	}
	s.left -= len(b)
	if len(b) > len(s.space) {
		s.space = make([]byte, max(chunk, len(b)))
	}
	n := copy(s.space, b)
	s.last, s.space = s.space[:n:n], s.space[n:]
	return s.last, true
}

const blockLen = 1 << 9

// A list grows without moving what is in it.
type list[T any] struct {
	blocks [][]T
	n      int
}

func (l *list[T]) at(i int32) *T { return &l.blocks[i/blockLen][i%blockLen] }

func (l *list[T]) add(v T) int32 {
	if l.n%blockLen == 0 {
		l.blocks = append(l.blocks, make([]T, 0, blockLen))
	}
	b := &l.blocks[len(l.blocks)-1]
	*b = append(*b, v)
	l.n++
	return int32(l.n - 1)
}

func (l *list[T]) clone() []T {
	out := make([]T, 0, l.n)
	for _, b := range l.blocks {
		out = append(out, b...)
	}
	return out
}

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

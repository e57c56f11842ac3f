package nat

import "math/bits"

// Mappings and peers live in slabs and refer to each other by number: a
// million of them are a few large objects to the garbage collector, without a
// pointer inside. Number 0 is nobody.

// slabChunk is how many entries a slab grows by.
const slabChunk = 128

type slab[T any] struct {
	chunks []*[slabChunk]T
	free   []uint32
	next   uint32
}

func (s *slab[T]) at(i uint32) *T { return &s.chunks[i/slabChunk][i%slabChunk] }

// get returns the number of a zero entry.
func (s *slab[T]) get() uint32 {
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		return i
	}
	s.next++
	if int(s.next/slabChunk) == len(s.chunks) {
		s.chunks = append(s.chunks, new([slabChunk]T))
	}
	return s.next
}

func (s *slab[T]) put(i uint32) {
	var zero T
	*s.at(i) = zero
	s.free = append(s.free, i)
}

// each calls f with every number that was ever handed out; the entry tells
// whether it still is.
func (s *slab[T]) each(f func(i uint32, v *T)) {
	for i := uint32(1); i <= s.next; i++ {
		f(i, s.at(i))
	}
}

// An index is a hash table whose chains run through the entries themselves.
// Entries with equal keys are found newest first.
type index struct {
	heads []uint32
	size  int
}

const firstHeads = 16

func (x *index) head(h uint64) uint32 {
	if len(x.heads) == 0 {
		return 0
	}
	return x.heads[h&uint64(len(x.heads)-1)]
}

// slot makes room for one more entry and returns where its chain begins. next
// and hash tell of the entries that are in the table already, for it may grow.
func (x *index) slot(h uint64, next func(i uint32) *uint32, hash func(i uint32) uint64) *uint32 {
	if x.size >= len(x.heads) {
		x.grow(next, hash)
	}
	x.size++
	return &x.heads[h&uint64(len(x.heads)-1)]
}

// grow doubles the table; the order within chains stays.
func (x *index) grow(next func(i uint32) *uint32, hash func(i uint32) uint64) {
	old := x.heads
	x.heads = make([]uint32, max(firstHeads, 2*len(old)))
	mask := uint64(len(x.heads) - 1)
	for at, head := range old {
		// A chain splits into this slot and the one that many further on.
		lo, hi := &x.heads[at], &x.heads[at+len(old)]
		for i := head; i != 0; {
			link := next(i)
			following := *link
			*link = 0
			if hash(i)&mask == uint64(at) {
				*lo, lo = i, link
			} else {
				*hi, hi = i, link
			}
			i = following
		}
	}
}

// remove takes an entry out of its chain.
func (x *index) remove(h uint64, i uint32, next func(i uint32) *uint32) {
	at := &x.heads[h&uint64(len(x.heads)-1)]
	for *at != i {
		if *at == 0 {
			return
		}
		at = next(*at)
	}
	link := next(i)
	*at, *link = *link, 0
	x.size--
}

// hash mixes a protocol and two endpoints (a folded 128-bit product).
func hash(proto byte, a, b endpoint) uint64 {
	hi, lo := bits.Mul64(
		(uint64(a.addr)<<32|uint64(b.addr))^0x9e3779b97f4a7c15,
		(uint64(proto)<<32|uint64(a.port)<<16|uint64(b.port))^0xd1b54a32d192ed03)
	return hi ^ lo
}

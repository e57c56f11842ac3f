package engine

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// Limits bound what a server sends, in packets a second. A zero field means
// its default.
type Limits struct {
	Client, ClientBurst float64 // for one IPv4 address and port; 5, 10
	Source              float64 // for one IPv4 source, a CGN perhaps; 200
	Target              float64 // to one IPv4 destination; 200
	Entries             int     // of the table, at most 65,536, the default
}

const maxEntries = 1 << 16

func (l Limits) check() error {
	if l.Client < 0 || l.ClientBurst < 0 || l.Source < 0 || l.Target < 0 || l.Entries < 0 || l.Entries > maxEntries {
		return errors.New("limits: negative, or more than 65,536 entries")
	}
	return nil
}

// limitKey names what a bucket is for.
type limitKey struct {
	ip   [4]byte
	port uint16
	kind limitKind
}

type limitKind uint8

const (
	perClient limitKind = iota
	perSource
	perTarget
)

type limitSlot struct {
	key    limitKey
	bucket bucket
}

// limiter is a bounded table of token buckets. When it is full the idlest of a
// few random entries makes room: a flood of forged sources can neither aim at
// anybody's entry, nor wash out that of the victim who is being flooded, which
// would give the flood a fresh bucket.
//
// It is safe for concurrent use: twins of a server share it, in shards by
// address, so that they seldom meet.
type limiter struct {
	limits Limits
	seed   uint64
	shards []limitShard
}

// A limitShard is a part of the table.
type limitShard struct {
	mu      sync.Mutex
	entries int // at most
	index   map[limitKey]int32
	slots   []limitSlot
	rand    *rand.Rand
	_       [64]byte // no two shards in one cache line
}

// shardEntries is how many entries are worth a shard.
const shardEntries = 1 << 12

func newLimiter(limits Limits, seed uint64) *limiter {
	or := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
	}
	or(&limits.Client, 5)
	or(&limits.ClientBurst, 10)
	or(&limits.Source, 200)
	or(&limits.Target, 200)
	if limits.Entries == 0 {
		limits.Entries = maxEntries
	}
	n := max(limits.Entries/shardEntries, 1)
	l := &limiter{limits: limits, seed: seed, shards: make([]limitShard, n)}
	for i := range l.shards {
		s := &l.shards[i]
		s.entries = limits.Entries / n
		s.index = map[limitKey]int32{}
		s.rand = rand.New(rand.NewPCG(seed, uint64(i)))
	}
	return l
}

func (l *limiter) len() (n int) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += len(s.slots)
		s.mu.Unlock()
	}
	return n
}

// shard returns the part of an address. Nobody outside can tell which it is.
func (l *limiter) shard(ip [4]byte) *limitShard {
	h := (uint64(binary.BigEndian.Uint32(ip[:])) ^ l.seed) * 0x9e3779b97f4a7c15
	return &l.shards[(h>>32)%uint64(len(l.shards))]
}

// allow reports whether a packet from from may cause one to target, and if
// not, which limit says so. An invalid target has no limit.
func (l *limiter) allow(now time.Time, from netip.AddrPort, target netip.Addr) (Drop, bool) {
	src := from.Addr().As4()
	if why, ok := l.shard(src).source(now, src, from.Port(), &l.limits); !ok {
		return why, false
	}
	if target.Is4() && !l.shard(target.As4()).target(now, target.As4(), l.limits.Target) {
		return DropServerTarget, false
	}
	return 0, true
}

func (s *limitShard) source(now time.Time, ip [4]byte, port uint16, l *Limits) (Drop, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.take(now, limitKey{ip, port, perClient}, l.Client, l.ClientBurst) {
		return DropServerEndpoint, false
	}
	if !s.take(now, limitKey{ip, 0, perSource}, l.Source, l.Source) {
		return DropServerHost, false
	}
	return 0, true
}

func (s *limitShard) target(now time.Time, ip [4]byte, rate float64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.take(now, limitKey{ip, 0, perTarget}, rate, rate)
}

func (s *limitShard) take(now time.Time, key limitKey, rate, burst float64) bool {
	i, ok := s.index[key]
	if !ok {
		if len(s.slots) < s.entries {
			i = int32(len(s.slots))
			s.slots = append(s.slots, limitSlot{})
		} else {
			i = s.idlest(now)
			delete(s.index, s.slots[i].key)
		}
		s.slots[i] = limitSlot{key, bucket{rate: rate, burst: burst}}
		s.index[key] = i
	}
	return s.slots[i].bucket.take(now, 1)
}

// idlest returns the fullest bucket of a few random ones.
func (s *limitShard) idlest(now time.Time) int32 {
	const samples = 4
	best, most := 0, -1.0
	for range samples {
		i := s.rand.IntN(len(s.slots))
		b := &s.slots[i].bucket
		if full := min(1, (b.tokens+b.rate*now.Sub(b.filled).Seconds())/b.burst); full > most {
			best, most = i, full
		}
	}
	return int32(best)
}

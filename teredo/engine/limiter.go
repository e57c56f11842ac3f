package engine

import (
	"encoding/binary"
	"errors"
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

// limitKey names what a slot is for: an IPv4 address, a port and a kind. None
// is zero.
type limitKey uint64

type limitKind uint8

const (
	perClient limitKind = iota + 1
	perSource
	perTarget
)

func keyOf(ip [4]byte, port uint16, kind limitKind) limitKey {
	return limitKey(binary.BigEndian.Uint32(ip[:]))<<32 | limitKey(port)<<8 | limitKey(kind)
}

// A limitSlot is a token bucket in one number: full is when it will be full
// again, in time since the limiter's first packet.
type limitSlot struct {
	key  limitKey // zero: nobody's
	full time.Duration
}

// limiter is a bounded table of token buckets. A key has its place in a window
// of a few slots that nobody outside can guess; where they are taken, the
// bucket that is full first makes room: a flood of forged sources can neither
// aim at anybody's entry, nor wash out that of the victim who is being flooded,
// which would give the flood a fresh bucket.
//
// It is safe for concurrent use: twins of a server share it, in shards by
// address, so that they seldom meet.
type limiter struct {
	limits Limits
	seed   uint64
	shards []limitShard
	start  sync.Once
	begin  time.Time
}

// A limitShard is a part of the table.
type limitShard struct {
	mu    sync.Mutex
	slots []limitSlot
	used  int
	_     [64]byte // no two shards in one cache line
}

const (
	shardEntries = 1 << 12 // as many entries are worth a shard
	limitWindow  = 8       // slots that a key may be in: two cache lines
)

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
		l.shards[i].slots = make([]limitSlot, limits.Entries/n)
	}
	return l
}

func (l *limiter) len() (n int) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += s.used
		s.mu.Unlock()
	}
	return n
}

// allow reports whether a packet from from may cause one to target, and if
// not, which limit says so. An invalid target has no limit.
func (l *limiter) allow(now time.Time, from netip.AddrPort, target netip.Addr) (Drop, bool) {
	l.start.Do(func() { l.begin = now })
	at, src := now.Sub(l.begin), from.Addr().As4()
	switch {
	case !l.take(at, keyOf(src, from.Port(), perClient), l.limits.Client, l.limits.ClientBurst):
		return DropServerEndpoint, false
	case !l.take(at, keyOf(src, 0, perSource), l.limits.Source, l.limits.Source):
		return DropServerHost, false
	case target.Is4() && !l.take(at, keyOf(target.As4(), 0, perTarget), l.limits.Target, l.limits.Target):
		return DropServerTarget, false
	}
	return 0, true
}

// take takes a token of the bucket of key, which has rate tokens a second and
// burst at most, if there is one.
func (l *limiter) take(at time.Duration, key limitKey, rate, burst float64) bool {
	h := mix(uint64(key) ^ l.seed)
	s := &l.shards[h%uint64(len(l.shards))]
	each := time.Duration(float64(time.Second) / rate)
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := s.slot(key, h>>16)
	full := max(slot.full, at)
	if full-at > time.Duration((burst-1)*float64(each)) {
		return false
	}
	slot.full = full + each
	return true
}

// slot returns the slot of key, a fresh one if it had none.
func (s *limitShard) slot(key limitKey, hash uint64) *limitSlot {
	window := s.slots
	if n := uint64(len(window)); n > limitWindow {
		from := hash % (n - limitWindow + 1)
		window = window[from : from+limitWindow]
	}
	first := &window[0]
	for i := range window {
		slot := &window[i]
		if slot.key == key {
			return slot
		}
		if slot.key == 0 || first.key != 0 && slot.full < first.full {
			first = slot
		}
	}
	if first.key == 0 {
		s.used++
	}
	*first = limitSlot{key: key}
	return first
}

// mix spreads a number over all of its bits, as SplitMix64 does at its end.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

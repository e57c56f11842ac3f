package engine

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
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
	perClient limitKind = 1
	perSource limitKind = 2 // of a whole address: with this bit
	perTarget limitKind = 3
)

func keyOf(ip [4]byte, port uint16, kind limitKind) limitKey {
	return limitKey(binary.BigEndian.Uint32(ip[:]))<<32 | limitKey(port)<<8 | limitKey(kind)
}

// A limitSlot is a token bucket in one number: full is when it will be full
// again, in time since the limiter's first packet.
type limitSlot struct {
	key  atomic.Uint64 // a limitKey; zero: nobody's
	full time.Duration
}

// limiter is a bounded table of token buckets. A key has its place in a window
// of a few slots that nobody outside can guess; where they are taken, the
// bucket that is full first makes room, those of clients before those of whole
// addresses: a flood of forged sources can neither aim at anybody's entry, nor
// wash out that of the victim who is being flooded, which would give the flood a
// fresh bucket; nor can it do so with all the ports of the victim.
//
// The table is larger than the nearest caches, and time goes into waiting for
// it. So all buckets of an address are in one shard, under one lock, and those
// for the address as a whole in one window. A lock is a wall besides: no
// processor looks ahead to what it will read behind it. Therefore fetch reads
// without one, for many packets at a time, and keys are atomic for it.
//
// It is safe for concurrent use: twins of a server share it, in shards by
// address, so that they seldom meet.
type limiter struct {
	perClient, perSource, perTarget limitRate
	seed                            uint64
	shards                          []limitShard
	start                           sync.Once
	begin                           time.Time
}

// A limitRate is a limit as buckets have it.
type limitRate struct {
	each time.Duration // between two tokens
	room time.Duration // how far from full a bucket with a token left is at most
}

func rateOf(rate, burst float64) limitRate {
	each := time.Duration(float64(time.Second) / rate)
	return limitRate{each, time.Duration((burst - 1) * float64(each))}
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
	outranks     = 62      // bit of what is evicted after all else
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
	l := &limiter{
		perClient: rateOf(limits.Client, limits.ClientBurst),
		perSource: rateOf(limits.Source, limits.Source),
		perTarget: rateOf(limits.Target, limits.Target),
		seed:      seed, shards: make([]limitShard, n),
	}
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
	at, ip := now.Sub(l.begin), from.Addr().As4()
	s, h := l.shard(ip)
	client, hClient := l.client(from)
	var why Drop // zero, DropMalformed, is no limit
	s.mu.Lock()
	switch {
	case !s.take(at, client, hClient, l.perClient):
		why = DropServerEndpoint
	case !s.take(at, keyOf(ip, 0, perSource), h, l.perSource):
		why = DropServerHost
	case target == from.Addr() && !s.take(at, keyOf(ip, 0, perTarget), h, l.perTarget):
		why = DropServerTarget
	}
	s.mu.Unlock()
	if why == 0 && target != from.Addr() && target.Is4() && !l.takeTarget(at, target.As4()) {
		why = DropServerTarget
	}
	return why, why == 0
}

func (l *limiter) takeTarget(at time.Duration, ip [4]byte) bool {
	s, h := l.shard(ip)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.take(at, keyOf(ip, 0, perTarget), h, l.perTarget)
}

// fetch brings what allow will look at for a source into the processor's
// caches. It changes nothing.
func (l *limiter) fetch(from netip.AddrPort) {
	s, h := l.shard(from.Addr().As4())
	_, hClient := l.client(from)
	s.fetch(h)
	s.fetch(hClient)
}

// fetchTarget is fetch for a target that is not the source.
func (l *limiter) fetchTarget(ip [4]byte) {
	s, h := l.shard(ip)
	s.fetch(h)
}

// shard returns where the buckets of an address are, and the hash that says
// where in it those for the address as a whole are.
func (l *limiter) shard(ip [4]byte) (*limitShard, uint64) {
	h := mix(uint64(keyOf(ip, 0, 0)) ^ l.seed)
	return &l.shards[h%uint64(len(l.shards))], h
}

// client returns the key of a client, and the hash that says where it is in the
// shard of its address.
func (l *limiter) client(from netip.AddrPort) (limitKey, uint64) {
	key := keyOf(from.Addr().As4(), from.Port(), perClient)
	return key, mix(uint64(key) ^ l.seed)
}

// take takes a token of the bucket of key, if there is one.
func (s *limitShard) take(at time.Duration, key limitKey, hash uint64, rate limitRate) bool {
	slot := s.slot(at, key, hash)
	full := max(slot.full, at)
	if full-at > rate.room {
		return false
	}
	slot.full = full + rate.each
	return true
}

// window returns the slots that a key with this hash may be in.
func (s *limitShard) window(hash uint64) []limitSlot {
	n := uint64(len(s.slots)) / limitWindow
	if n == 0 {
		return s.slots
	}
	from := hash >> 16 % n * limitWindow // as cache lines lie
	return s.slots[from : from+limitWindow]
}

// fetch reads from both cache lines of a window.
func (s *limitShard) fetch(hash uint64) {
	w := s.window(hash)
	w[0].key.Load()
	w[len(w)-1].key.Load()
}

// slot returns the slot of key, a fresh one if it had none.
func (s *limitShard) slot(at time.Duration, key limitKey, hash uint64) *limitSlot {
	window := s.window(hash)
	// Which is full first is a matter of chance: no branch is to guess it.
	first := int64(math.MaxInt64) // by time, but for the last bits, which are the index
	for i := range window {
		k := window[i].key.Load()
		if k == uint64(key) {
			return &window[i]
		}
		rank := int64(window[i].full)&^(limitWindow-1) | int64(i)
		// One of a whole address that is not full yet comes last.
		rank |= int64(uint64(at-window[i].full)>>63&(k>>1)) << outranks
		if k == 0 {
			rank = int64(i) - limitWindow // before all that are taken
		}
		first = min(first, rank)
	}
	if first < 0 {
		s.used++
	}
	slot := &window[uint64(first)%limitWindow]
	slot.key.Store(uint64(key))
	slot.full = 0
	return slot
}

// mix spreads a number over all of its bits, as SplitMix64 does at its end.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

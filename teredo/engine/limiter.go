package engine

import (
	"errors"
	"math/rand/v2"
	"net/netip"
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
type limiter struct {
	limits Limits
	index  map[limitKey]int32
	slots  []limitSlot
	rand   *rand.Rand
}

func (l *limiter) init(limits Limits, seed uint64) {
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
	l.limits = limits
	l.index = map[limitKey]int32{}
	l.rand = rand.New(rand.NewPCG(seed, uint64(limits.Entries)))
}

func (l *limiter) len() int { return len(l.slots) }

// allow reports whether a packet from from may cause one to target, and if
// not, which limit says so. An invalid target has no limit.
func (l *limiter) allow(now time.Time, from netip.AddrPort, target netip.Addr) (Drop, bool) {
	src := from.Addr().As4()
	if !l.take(now, limitKey{src, from.Port(), perClient}, l.limits.Client, l.limits.ClientBurst) {
		return DropServerEndpoint, false
	}
	if !l.take(now, limitKey{src, 0, perSource}, l.limits.Source, l.limits.Source) {
		return DropServerHost, false
	}
	if target.Is4() && !l.take(now, limitKey{target.As4(), 0, perTarget}, l.limits.Target, l.limits.Target) {
		return DropServerTarget, false
	}
	return 0, true
}

func (l *limiter) take(now time.Time, key limitKey, rate, burst float64) bool {
	i, ok := l.index[key]
	if !ok {
		if len(l.slots) < l.limits.Entries {
			i = int32(len(l.slots))
			l.slots = append(l.slots, limitSlot{})
		} else {
			i = l.idlest(now)
			delete(l.index, l.slots[i].key)
		}
		l.slots[i] = limitSlot{key, bucket{rate: rate, burst: burst}}
		l.index[key] = i
	}
	return l.slots[i].bucket.take(now, 1)
}

// idlest returns the fullest bucket of a few random ones.
func (l *limiter) idlest(now time.Time) int32 {
	const samples = 4
	best, most := 0, -1.0
	for range samples {
		i := l.rand.IntN(len(l.slots))
		b := &l.slots[i].bucket
		if full := min(1, (b.tokens+b.rate*now.Sub(b.filled).Seconds())/b.burst); full > most {
			best, most = i, full
		}
	}
	return int32(best)
}

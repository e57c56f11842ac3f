package server

import (
	"hash/maphash"
	"net/netip"
	"time"
)

// buckets is how many there are of each kind; a client that shares one with a
// busier client is not answered for a while, and asks again.
const buckets = 1 << 16

// limiter bounds rates per key in a table of fixed size. A keyed hash picks
// the bucket: nobody can aim at that of somebody else, and a flood of forged
// sources can wash out no entry, since there are none.
type limiter struct {
	seed  maphash.Seed
	began time.Time
	step  time.Duration // between packets at the full rate
	slack time.Duration // how far ahead of it a client may be
	// full is when each bucket is full again, after began.
	full []time.Duration
}

func newLimiter(now time.Time, rate int) limiter {
	step := time.Second / time.Duration(rate)
	return limiter{seed: maphash.MakeSeed(), began: now, step: step, slack: 2 * time.Second, full: make([]time.Duration, buckets)}
}

// take reports whether one more packet for this key is within its rate, and
// counts it if so.
func (l *limiter) take(now time.Time, key netip.AddrPort) bool {
	at := now.Sub(l.began)
	f := &l.full[maphash.Comparable(l.seed, key)%buckets]
	next := max(*f, at) + l.step
	if next-at > l.slack {
		return false
	}
	*f = next
	return true
}

package link

import (
	"math"
	"time"
)

// codel is the state of "controlled delay" (RFC 8289, 5): it lets a queue
// absorb a burst, and drops, ever sooner after one another, once packets have
// waited longer than Target for a whole Interval.
type codel struct {
	above    time.Time // when the wait will have been above Target for an Interval; zero = it is not above
	dropping bool
	next     time.Time // of the next drop
	count    int       // of drops since dropping began
	last     int       // count when it ended
}

// mtu is the most that may wait without counting as a queue (RFC 8289, 5.4:
// "maxpacket").
const mtu = 1500

// drops decides about the packet that leaves the queue at now after a wait,
// with backlog bytes that were before it.
func (q *codel) drops(now time.Time, wait time.Duration, backlog int, c *Config) bool {
	target, interval := c.Target, c.Interval
	if target == 0 {
		target = DefaultTarget
	}
	if interval == 0 {
		interval = DefaultInterval
	}
	ok := false // to drop
	switch {
	case wait < target || backlog <= mtu:
		q.above = time.Time{}
	case q.above.IsZero():
		q.above = now.Add(interval)
	default:
		ok = !now.Before(q.above)
	}
	switch {
	case q.dropping && !ok:
		q.dropping = false
		return false
	case q.dropping:
		if now.Before(q.next) {
			return false
		}
		q.count++
		q.next = law(q.next, interval, q.count)
		return true
	case !ok:
		return false
	}
	// Begin again near the rate that worked, if that was not long ago
	// (RFC 8289, 5.5).
	q.dropping = true
	delta := q.count - q.last
	if q.count = 1; delta > 1 && now.Sub(q.next) < 16*interval {
		q.count = delta
	}
	q.next = law(now, interval, q.count)
	q.last = q.count
	return true
}

// law spaces drops so that the throughput of TCP falls linearly (RFC 8289,
// 5.3).
func law(t time.Time, interval time.Duration, count int) time.Time {
	return t.Add(time.Duration(float64(interval) / math.Sqrt(float64(count))))
}

package natprobe

import "time"

// Limits on what a prober sends.
const (
	// MaxPackets is what one pass sends at most: a run over one address family,
	// or one test of lifetimes.
	MaxPackets = 80
	// Burst is what a prober that was silent long enough may send at once: one
	// classification, which has to be over before the network changes. Beyond,
	// and averaged over every stretch of time that starts after a burst, it is
	// Rate packets a second (RFC 5780, 5).
	Burst = 40
	Rate  = 10
)

// A pacer is a token bucket.
type pacer struct {
	tokens float64
	at     time.Time
}

func newPacer(now time.Time) *pacer { return &pacer{tokens: Burst, at: now} }

func (p *pacer) fill(now time.Time) {
	if d := now.Sub(p.at); d > 0 {
		p.tokens = min(Burst, p.tokens+Rate*d.Seconds())
		p.at = now
	}
}

// take reports whether a packet may leave at now, and counts it.
func (p *pacer) take(now time.Time) bool {
	if p.fill(now); p.tokens < 1 {
		return false
	}
	p.tokens--
	return true
}

// ready returns when the next packet may leave, at or after t.
func (p *pacer) ready(t time.Time) time.Time {
	if p.tokens >= 1 {
		return t
	}
	wait := time.Duration((1-p.tokens)/Rate*float64(time.Second)) + time.Microsecond
	if r := p.at.Add(wait); r.After(t) {
		return r
	}
	return t
}

// A clock estimates how long an answer takes, from the answers so far. The
// longest time is forgotten by halves: what was slow once, the first packets
// perhaps, is not slow for ever.
type clock struct{ least, most time.Duration }

func (c *clock) known() bool { return c.most > 0 }

func (c *clock) sample(d time.Duration) {
	d = max(d, time.Microsecond)
	if !c.known() || d < c.least {
		c.least = d
	}
	c.most = max(d, (c.most+d)/2)
}

// wait is when an answer that is not there yet is late: a round trip, and a
// fifth of it or what the round trips so far differ by.
func (c *clock) wait() time.Duration {
	return c.most + max(c.most/5, c.most-c.least, minSlack)
}

// gap is a part of the round trip, for copies.
func (c *clock) gap(share float64) time.Duration {
	return max(time.Duration(share*float64(c.most)), minGap)
}

const (
	minSlack = 10 * time.Millisecond // of schedulers and queues
	minGap   = 2 * time.Millisecond
)

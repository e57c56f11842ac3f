package engine

import "time"

// Limits on bubbles. The first two are RFC 4380, 5.2.6.
const (
	bubbleGap    = 2 * time.Second
	bubbleWindow = 300 * time.Second
	bubbleTries  = 4 // per window without a direct answer

	// Bubbles a second sent because strangers sent some, 20 and a burst of 50
	// in all. Direct ones are easily forged, so they have a share of their own.
	answerRate, answerBurst = 12, 30
	ackRate, ackBurst       = 8, 20

	// quietPath is how long a way to a peer that is not used is likely to stay:
	// mappings that were answered live for two minutes and more.
	quietPath = 2 * time.Minute

	quietAsks = 2 // then both at once: a third, and the peer's server

	// A known peer that does not answer is tried beyond the limit above.
	knownGap  = 5 * time.Second
	knownMost = 30 * time.Second

	holdData = time.Second // data, for the nonce of a peer that we know already

	peerAnswerRate  = 2 // the same for one peer
	peerAnswerBurst = 4
)

// bucket is a token bucket. Its rate and burst are in tokens (a second).
type bucket struct {
	rate, burst float64
	tokens      float64
	filled      time.Time // zero: full
}

// take takes n tokens if there are as many.
func (b *bucket) take(now time.Time, n float64) bool {
	if b.filled.IsZero() {
		b.tokens, b.filled = b.burst, now
	} else if d := now.Sub(b.filled); d > 0 {
		b.tokens = min(b.burst, b.tokens+b.rate*d.Seconds())
		b.filled = now
	}
	if b.tokens < n {
		return false
	}
	b.tokens -= n
	return true
}

// history remembers when the last bubbles to a peer were sent that it did not
// answer. It outlives the peer's entry in the table.
type history struct {
	at [bubbleTries]time.Time // oldest first; the first n are set
	n  int
}

// expire forgets what lies outside the window.
func (h *history) expire(now time.Time) {
	for h.n > 0 && now.Sub(h.at[0]) >= bubbleWindow {
		copy(h.at[:], h.at[1:])
		h.n--
	}
}

// allowed reports whether a bubble may be sent, and if not, when.
func (h *history) allowed(now time.Time) (bool, time.Time) {
	at := h.retryAt(now)
	return at.IsZero(), at
}

// retryAt returns when the next bubble may be sent; zero means now.
func (h *history) retryAt(now time.Time) time.Time {
	h.expire(now)
	var at time.Time
	if h.n == bubbleTries {
		at = h.at[0].Add(bubbleWindow)
	}
	if h.n > 0 {
		if gap := h.at[h.n-1].Add(bubbleGap); gap.After(now) && gap.After(at) {
			at = gap
		}
	}
	return at
}

// add notes a bubble. It must be allowed.
func (h *history) add(now time.Time) {
	if h.n == bubbleTries {
		copy(h.at[:], h.at[1:])
		h.n--
	}
	h.at[h.n] = now
	h.n++
}

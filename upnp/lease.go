package upnp

import "time"

// action is what a lease wants done.
type action uint8

const (
	acquire action = iota + 1 // try every protocol
	renew                     // ask for more time
	check                     // see whether the router still knows
	verify                    // be sure of it: something hints at the reverse
)

// lease says when what is to be done about one mapping.
//
//	             granted
//	+---------+ ---------> +------+ half of the time: renew
//	| missing |            | held | now and then: check; a hint: verify
//	+---------+ <--------- +------+
//	 acquire,     lost: expired, or three
//	 backing off        failures in a row
//
// It is handed the time and owns no clock. The zero lease is missing and wants
// to acquire at once.
type lease struct {
	held     bool
	expires  time.Time // zero: never
	renewal  time.Time // zero: never
	checkup  time.Time
	failures int
	retry    time.Time
	lost     time.Time // when the last mapping was, zero: never
	hinted   time.Time // the last hint that was acted upon
	hint     time.Time // when to act upon one, zero: none
}

const (
	// checkEvery leaves two seconds to map anew within the ten that a restart
	// may cost which nobody announces. It takes 450 questions of one packet an
	// hour, and their answers.
	checkEvery  = 8 * time.Second
	hintsApart  = 5 * time.Second // RFC 6887, 14.1.1 gives the same for sending
	maxFailures = 3
	firstRetry  = 5 * time.Second
	maxRetry    = 5 * time.Minute
	// rebootTime is how long a router may take to come back for which firstRetry
	// stays the pause between attempts.
	rebootTime = 10 * time.Minute
)

// granted: the router gave the mapping for a lifetime, or for ever if 0.
func (l *lease) granted(now time.Time, lifetime time.Duration) {
	*l = lease{held: true, checkup: now.Add(checkEvery), hinted: l.hinted, hint: l.hint}
	if lifetime > 0 {
		l.expires, l.renewal = now.Add(lifetime), now.Add(lifetime/2)
	}
}

// checked: the mapping is still there.
func (l *lease) checked(now time.Time) {
	l.failures, l.retry, l.checkup = 0, time.Time{}, now.Add(checkEvery)
}

// failed: what was wanted did not succeed. It reports whether a mapping that
// was held is lost with that.
func (l *lease) failed(now time.Time) (lost bool) {
	l.failures++
	lost = l.held && (l.failures >= maxFailures || !l.expires.IsZero() && !now.Before(l.expires))
	if lost {
		l.gone(now)
		return true
	}
	wait := min(firstRetry<<min(l.failures-1, 10), maxRetry)
	switch {
	case l.held:
		wait = time.Second << (l.failures - 1)
	case !l.lost.IsZero() && now.Sub(l.lost) < rebootTime:
		wait, l.failures = firstRetry, 0
	}
	l.retry = now.Add(wait)
	return false
}

// gone: the mapping does not exist any more.
func (l *lease) gone(now time.Time) {
	*l = lease{retry: now, lost: now, hinted: l.hinted, hint: l.hint}
}

// hear takes a hint that the router may have lost the mapping. It is acted upon
// after a moment, so that not all hosts ask at once, and at most every
// hintsApart: a forged hint costs little.
func (l *lease) hear(now time.Time, moment time.Duration) {
	if l.hint.IsZero() {
		l.hint = now.Add(moment)
		if soonest := l.hinted.Add(hintsApart); !l.hinted.IsZero() && l.hint.Before(soonest) {
			l.hint = soonest
		}
	}
}

// next returns what is to be done, and when: now, or later.
func (l *lease) next() (action, time.Time) {
	what, when := acquire, l.retry
	switch {
	case !l.held:
	case !l.retry.IsZero():
		what = verify
	case !l.renewal.IsZero() && !l.checkup.Before(l.renewal):
		what, when = renew, l.renewal
	default:
		what, when = check, l.checkup
	}
	if !l.hint.IsZero() && l.hint.Before(when) {
		when = l.hint
		if what != acquire {
			what = verify
		}
	}
	return what, when
}

// begin is told that what is due is being done.
func (l *lease) begin(now time.Time) {
	if !l.hint.IsZero() && !now.Before(l.hint) {
		l.hint, l.hinted = time.Time{}, now
	}
}

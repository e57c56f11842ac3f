package upnp

import (
	"testing"
	"time"
)

// U-08: renewal is at half the lease, and a permanent mapping needs none.
func TestLeaseRenewal(t *testing.T) {
	now := time.Unix(1e9, 0)
	var l lease
	if what, when := l.next(); what != acquire || when.After(now) {
		t.Errorf("a new lease: %v at %v", what, when)
	}
	l.granted(now, 10*time.Second)
	if what, when := l.next(); what != renew || when != now.Add(5*time.Second) {
		t.Errorf("%v at %v", what, when.Sub(now))
	}
	l.granted(now, time.Hour)
	for i := 1; i < int(30*time.Minute/checkEvery); i++ {
		what, when := l.next()
		if want := now.Add(time.Duration(i) * checkEvery); what != check || when != want {
			t.Fatalf("%d: %v at %v", i, what, when.Sub(now))
		}
		l.checked(when)
	}
	if what, when := l.next(); what != check && what != renew || when != now.Add(30*time.Minute) {
		t.Errorf("%v at %v, want a renewal at half an hour", what, when.Sub(now))
	}
	l.granted(now, 0)
	if !l.renewal.IsZero() || !l.expires.IsZero() {
		t.Error("a permanent mapping is renewed")
	}
}

// Three failures lose a mapping, as its expiry does; without one the tries
// become rarer.
func TestLeaseFailures(t *testing.T) {
	now := time.Unix(1e9, 0)
	var l lease
	l.granted(now, time.Hour)
	for i, lost := range []bool{false, false, true} {
		if l.failed(now) != lost {
			t.Errorf("failure %d: lost %v", i+1, !lost)
		}
	}
	if what, when := l.next(); what != acquire || when != now {
		t.Errorf("after the loss: %v at %v", what, when.Sub(now))
	}
	// For ten minutes it may be on its way back.
	for at := now; at.Before(now.Add(rebootTime)); at = at.Add(time.Minute) {
		if l.failed(at); l.retry != at.Add(firstRetry) {
			t.Errorf("%v after the loss: next after %v", at.Sub(now), l.retry.Sub(at))
		}
	}
	now = now.Add(rebootTime)
	var waits []time.Duration
	for range 9 {
		if l.failed(now) {
			t.Error("lost what was not held")
		}
		_, when := l.next()
		waits = append(waits, when.Sub(now)/time.Second)
	}
	for i, want := range []time.Duration{5, 10, 20, 40, 80, 160, 300, 300, 300} {
		if waits[i] != want {
			t.Errorf("waits %v", waits)
			break
		}
	}
	l.granted(now, 10*time.Second)
	if !l.failed(now.Add(10 * time.Second)) {
		t.Error("an expired mapping was not lost")
	}
}

// U-12: hints are acted upon once in five seconds, however many come.
func TestLeaseHints(t *testing.T) {
	now := time.Unix(1e9, 0)
	var l lease
	l.granted(now, time.Hour)
	var acted []time.Duration
	for ms := range 20000 {
		at := now.Add(time.Duration(ms) * time.Millisecond)
		l.hear(at, 300*time.Millisecond)
		if what, when := l.next(); !when.After(at) {
			if what != verify {
				t.Fatalf("%v", what)
			}
			l.begin(at)
			l.checked(at)
			acted = append(acted, at.Sub(now))
		}
	}
	if len(acted) != 4 || acted[0] != 300*time.Millisecond || acted[1] != 5300*time.Millisecond {
		t.Errorf("acted at %v", acted)
	}
}

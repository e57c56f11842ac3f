package engine_test

import (
	"fmt"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/testnet/nat"
)

func findRefresh(c *engine.ClientConfig) { c.FindRefresh = true }

// keeping is a NAT that forgets an idle mapping after that time.
func keeping(lifetime time.Duration) nat.Config {
	return nat.Config{Filtering: nat.AddressAndPortDependent, Lifetime: lifetime, Allocation: nat.Random}
}

// RFC 4380, 5.2.7: the interval found is at least 75 % of what the NAT stands,
// or of 120 s, and never more; the address outlives an hour with it, and the
// second port is closed.
func TestFindRefresh(t *testing.T) {
	for _, test := range []struct{ lifetime, want time.Duration }{
		{31 * time.Second, 30 * time.Second},
		{50 * time.Second, 45 * time.Second},
		{70 * time.Second, 60 * time.Second},
		{100 * time.Second, 90 * time.Second},
		{time.Hour, 90 * time.Second},
	} {
		t.Run(fmt.Sprint(test.lifetime), func(t *testing.T) {
			l := newLab(t, 1, plain)
			n := l.behind(keeping(test.lifetime), findRefresh)
			l.qualify(n)
			if !l.until(20*time.Minute, func() bool { return len(n.extra) == 0 }) {
				t.Fatal("the second port is still open after 20 minutes")
			}
			took := l.w.Now().Sub(start)
			if s := n.state(); s.Refresh != test.want {
				t.Errorf("found %v, want %v; %v", s.Refresh, test.want, s.Drops)
			}
			before := n.state().Solicitations
			l.run(time.Hour)
			if n.count(engine.AddressLost) != 0 {
				t.Errorf("address lost %d times", n.count(engine.AddressLost))
			}
			t.Logf("found after %v; then %d solicitations an hour", took, n.state().Solicitations-before)
		})
	}
}

// Loss makes the interval found shorter, never longer than the NAT stands.
func TestFindRefreshLoss(t *testing.T) {
	for seed := range uint64(20) {
		l := newLab(t, seed+1, plain)
		n := l.behind(keeping(70*time.Second), findRefresh)
		l.qualify(n)
		l.lossy(crossing(0.1))
		l.run(20 * time.Minute)
		if s := n.state(); s.Refresh < 30*time.Second || s.Refresh > 70*time.Second || len(n.extra) != 0 {
			t.Errorf("seed %d: %v, %d ports open", seed, s.Refresh, len(n.extra))
		}
	}
}

// The procedure is off unless it is asked for, ends without the server, and
// starts afresh with another address.
func TestFindRefreshStarts(t *testing.T) {
	l := newLab(t, 1, plain)
	off := l.behind(keeping(time.Hour), nil)
	n := l.behind(keeping(time.Hour), findRefresh)
	l.qualify(off, n)
	l.until(10*time.Minute, func() bool { return n.state().Refresh == time.Minute })
	n.renumber()
	if !l.until(time.Minute, func() bool { return n.count(engine.Qualified) == 2 }) {
		t.Fatal("no new address")
	}
	if s := n.state(); s.Refresh != 30*time.Second || len(n.extra) != 1 {
		t.Errorf("%v with the new address, %d ports open", s.Refresh, len(n.extra))
	}
	l.down = true
	l.run(5 * time.Minute)
	if len(n.extra) != 0 {
		t.Errorf("%d ports open without a server", len(n.extra))
	}
	if s := off.state(); s.Refresh != 30*time.Second || len(off.extra) != 0 {
		t.Errorf("unasked: %v", s.Refresh)
	}
}

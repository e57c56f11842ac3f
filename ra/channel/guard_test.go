package channel

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"
)

func testGuard(t testing.TB) (*Guard, *time.Duration) {
	t.Helper()
	inv, _ := testInvitation(t)
	clock := new(time.Duration)
	g, err := newGuard(inv, password, func() time.Duration { return *clock }, inv.Created)
	if err != nil {
		t.Fatal(err)
	}
	return g, clock
}

// attempts count when they begin: of 100 at once, 5 are evaluated.
func TestGuardCountsAtStart(t *testing.T) {
	g, _ := testGuard(t)
	evaluated := 0
	for range 100 {
		secret, yes, err := g.begin()
		if err != nil {
			t.Fatal(err)
		}
		if yes {
			evaluated++
		}
		if bytes.Equal(secret, g.secret) != yes {
			t.Error("the secret goes with the evaluation")
		}
	}
	if evaluated != 5 {
		t.Errorf("%d evaluated", evaluated)
	}
	for i := range 5 {
		if g.Cause() != nil {
			t.Fatalf("ended after %d: %v", i, g.Cause())
		}
		g.fail(func(int) {})
	}
	if !errors.Is(g.Cause(), ErrBurned) {
		t.Errorf("cause %v", g.Cause())
	}
	if !bytes.Equal(g.secret, make([]byte, len(g.secret))) {
		t.Error("the secret outlives the invitation")
	}
	if _, yes, err := g.begin(); yes || err != nil {
		t.Errorf("after the end: evaluated %v, %v", yes, err)
	}
	if err := g.claim(func() { t.Error("delivered") }); !errors.Is(err, ErrBurned) {
		t.Errorf("claim: %v", err)
	}
}

// the fifth attempt may still be the right one.
func TestGuardFifthIsRight(t *testing.T) {
	g, _ := testGuard(t)
	for range 4 {
		g.begin()
		g.fail(func(int) {})
	}
	if _, yes, _ := g.begin(); !yes {
		t.Fatal("the fifth is not evaluated")
	}
	delivered := false
	if err := g.claim(func() { delivered = true }); err != nil || !delivered {
		t.Fatalf("%v", err)
	}
	if !errors.Is(g.Cause(), ErrUsed) {
		t.Errorf("cause %v", g.Cause())
	}
}

// R-07, RR-08: the monotonic clock decides; the wall clock may do what it likes.
func TestGuardLife(t *testing.T) {
	g, clock := testGuard(t)
	*clock = 6*time.Hour - 1
	if g.Cause() != nil || g.Remaining() != 1 {
		t.Errorf("a moment before: %v, %v", g.Cause(), g.Remaining())
	}
	*clock = 6 * time.Hour
	if !errors.Is(g.Cause(), ErrExpired) || g.Remaining() != 0 {
		t.Errorf("at the end: %v", g.Cause())
	}
	select {
	case <-g.Done():
	default:
		t.Error("not done")
	}
	if _, yes, err := g.begin(); yes || err != nil {
		t.Errorf("evaluated %v, %v", yes, err)
	}
	if err := g.claim(func() { t.Error("delivered") }); !errors.Is(err, ErrExpired) {
		t.Errorf("claim: %v", err)
	}
}

// whatever the wall clock says when the User begins to listen, the life
// is not longer than the invitation's.
func TestGuardWallClock(t *testing.T) {
	inv, _ := testInvitation(t)
	for _, c := range []struct {
		name string
		step time.Duration
		want time.Duration
	}{
		{"at once", 0, 6 * time.Hour},
		{"an hour later", time.Hour, 5 * time.Hour},
		{"clock a day back", -24 * time.Hour, 6 * time.Hour},
		{"clock ten years back", -10 * 365 * 24 * time.Hour, 6 * time.Hour},
		{"too late", 7 * time.Hour, 0},
	} {
		g, err := newGuard(inv, password, func() time.Duration { return 1000 }, inv.Created.Add(c.step))
		if err != nil {
			t.Fatal(err)
		}
		if got := g.Remaining(); got != c.want {
			t.Errorf("%s: %v left, want %v", c.name, got, c.want)
		}
	}
}

//
func TestGuardOneSession(t *testing.T) {
	g, _ := testGuard(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	won, busy := 0, 0
	for range 50 {
		wg.Go(func() {
			err := g.claim(func() {})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if errors.Is(err, ErrBusy) {
				busy++
			}
		})
	}
	wg.Wait()
	if won != 1 || busy != 49 {
		t.Errorf("%d won, %d were told that it is taken", won, busy)
	}
	if _, _, err := g.begin(); !errors.Is(err, ErrBusy) {
		t.Errorf("begin: %v", err)
	}
	if _, err := g.admit(netip.MustParseAddrPort("192.0.2.1:1")); !errors.Is(err, ErrBusy) {
		t.Errorf("admit: %v", err)
	}
}

// 4 of one origin, 16 in all.
func TestGuardBudget(t *testing.T) {
	for _, c := range []struct {
		name   string
		format string // of the i-th address
		want   int    // admitted of 40
	}{
		{"one IPv4 address", "192.0.2.1:%d", 4},
		{"one IPv6 address", "[2001:db8::1]:%d", 4},
		{"one /64", "[2001:db8::%x]:1", 4},
		{"many /64", "[2001:db8:0:%x::1]:1", 16},
		{"one NAT behind Teredo", "[2001:0:cb00:7101:%x:f227:3fff:fdd2]:1", 4},
		{"many NATs behind Teredo", "[2001:0:cb00:7101:0:f227:3fff:%x]:1", 16},
		{"Teredo and plain, one NAT", "192.0.2.45:%d", 4}, // 3fff:fdd2 inverted
	} {
		t.Run(c.name, func(t *testing.T) {
			g, _ := testGuard(t)
			var slots []*slot
			for i := range 40 {
				s, err := g.admit(netip.MustParseAddrPort(fmt.Sprintf(c.format, i+1)))
				if err == nil {
					slots = append(slots, s)
				} else if !errors.Is(err, ErrBusy) {
					t.Fatal(err)
				}
			}
			if len(slots) != c.want {
				t.Fatalf("%d admitted, want %d", len(slots), c.want)
			}
			for _, s := range slots {
				s.release()
				s.release() // more than once is once
			}
			if g.total != 0 || len(g.halfOpen) != 0 {
				t.Errorf("%d, %v left", g.total, g.halfOpen)
			}
		})
	}
	plain := budgetPrefix(netip.MustParseAddr("192.0.2.45"))
	teredo := budgetPrefix(netip.MustParseAddr("2001:0:cb00:7101:0:f227:3fff:fdd2"))
	if plain != teredo {
		t.Errorf("%v and %v are one origin", plain, teredo)
	}
}

func TestSinceBoot(t *testing.T) {
	clock := sinceBoot()
	a := clock()
	b := clock()
	if b < a {
		t.Errorf("%v, then %v", a, b)
	}
}

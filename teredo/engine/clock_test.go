package engine_test

import (
	"testing"
	"time"
	"unsafe"

	"shipworm/teredo/engine"
)

// stepWall returns t as time.Now would have returned it had the wall clock been
// set in the meantime: another date, the same monotonic reading. Package time
// offers no way to make such a value; the layout is that of Go's own Time: a
// flag, 33 bits of seconds since 1885 and 30 of nanoseconds. The test checks
// the result before it relies on it.
func stepWall(tb testing.TB, t time.Time, years int) time.Time {
	tb.Helper()
	const second, year = 1 << 30, 365 * 24 * 3600
	u := t
	wall := (*uint64)(unsafe.Pointer(&u))
	if *wall>>63 == 0 {
		tb.Fatal("no monotonic reading: nothing would be tested")
	}
	*wall += uint64(int64(years) * year * second)
	if u.Sub(t) != 0 || u.Year()-t.Year() < years-1 || u.Year()-t.Year() > years+1 || u.Round(0).Equal(t.Round(0)) {
		tb.Fatalf("%v became %v, %v later", t, u, u.Sub(t))
	}
	return u
}

// Wall clock steps of ten years either way expire nothing: not the address, an
// outstanding nonce, a peer, a queue or the token of a test, and the limits
// hold. Only the monotonic reading counts. TR-09, T-14
func TestWallClockSteps(t *testing.T) {
	for _, years := range []int{10, -10} {
		r := newRig(t, nil)
		r.now = time.Now()
		rs := r.begin()
		step := func() []engine.Transmit {
			r.now = stepWall(t, r.now.Add(50*time.Millisecond), years)
			years = -years // back, so that the date stays within range
			return r.pass(0)
		}
		step()
		r.receive(serverPort, r.advertise(rs[0], mapping))
		if r.own = r.c.Snapshot().Address.Addr(); !r.own.IsValid() {
			t.Fatalf("nonce expired: %v", r.c.Snapshot().Drops)
		}
		peer := peerAt(peerPort)
		tries := r.send(udp(r.own, peer, 100))
		step()
		if sent := r.receive(peerPort, proofOf(t, peer, r.own, tries, peerPort)); len(sent) != 1 || len(sent[0].Payload) != 100 {
			t.Errorf("queue expired: sent %v", sent)
		}
		ping := r.send(udp(r.own, native, 100))
		step()
		if sent := r.receive(relay, reply(t, ping[0].Payload)); len(sent) != 1 || sent[0].To != relay {
			t.Errorf("token expired: sent %v, %v", sent, r.c.Snapshot().Drops)
		}
		step()
		if sent := r.send(udp(r.own, peer, 100)); len(sent) != 1 || sent[0].To != peerPort {
			t.Errorf("peer expired: sent %v", sent)
		}
		silent := peerAt(otherPort)
		sent := r.send(udp(r.own, silent, 100))
		for range 100 {
			sent = append(sent, step()...)
			sent = append(sent, r.send(udp(r.own, silent, 100))...)
		}
		if n := bubbles(sent); n != 2+3+3 || len(sent) != n { // at 0, 2 and 4 s, a direct and an indirect one, then a link-local one too
			t.Errorf("%d packets in 5 s, %d of them bubbles, want 8", len(sent), n)
		}
		if s := r.c.Snapshot(); s.State != engine.Ready || s.Address.Addr() != r.own {
			t.Errorf("state %v, address %v", s.State, s.Address)
		}
	}
}

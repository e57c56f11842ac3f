package link_test

import (
	"math"
	"math/bits"
	"testing"
	"time"

	"shipworm/testnet/link"
)

// flood offers a line packets of 1,250 bytes at a steady rate, and returns
// how many arrived and the longest wait in the queue after the first second.
func flood(t *testing.T, c link.Config, offered int64, length time.Duration) (arrived, sent int, longest time.Duration, s link.Stats) {
	t.Helper()
	l, err := link.New(c)
	if err != nil {
		t.Fatal(err)
	}
	const size = 1250
	gap := time.Duration(size * 8 * int64(time.Second) / offered)
	start := time.Unix(0, 0)
	for at := time.Duration(0); at < length; at += gap {
		now := start.Add(at)
		d := l.Send(now, size)
		sent++
		for _, x := range d.Times() {
			arrived++
			if at > time.Second {
				longest = max(longest, x.Sub(now)-c.Delay)
			}
		}
	}
	return arrived, sent, longest, l.Stats()
}

// RFC 8289, 3: below its rate a line with CoDel drops nothing.
func TestCoDelLeavesGoodQueuesAlone(t *testing.T) {
	c := link.Config{Rate: 10e6, CoDel: true, Queue: 1 << 20}
	if _, _, _, s := flood(t, c, 9_900_000, 10*time.Second); s.Waited != 0 || s.QueueFull != 0 {
		t.Errorf("%+v", s)
	}
	// A burst that is gone within the interval is absorbed.
	l, err := link.New(c)
	if err != nil {
		t.Fatal(err)
	}
	for range 90 { // 90 ms at this rate
		if d := l.Send(time.Unix(0, 0), 1250); d.Reason != link.Delivered {
			t.Fatal(d.Reason)
		}
	}
}

// RFC 8289, 5: under a steady overload CoDel drops the excess, sooner and
// sooner, where a queue that drops at its tail stays full.
func TestCoDelHoldsTheWait(t *testing.T) {
	c := link.Config{Rate: 10e6, Queue: 1 << 20, Delay: 10 * time.Millisecond}
	_, _, tail, _ := flood(t, c, 11_000_000, 60*time.Second)
	c.CoDel = true
	_, _, codel, s := flood(t, c, 11_000_000, 60*time.Second)
	t.Logf("longest wait: tail drop %v, CoDel %v, %d dropped", tail, codel, s.Waited)
	if tail < 800*time.Millisecond || codel > tail*3/4 || s.QueueFull != 0 {
		t.Errorf("longest wait: tail drop %v, CoDel %v; %+v", tail, codel, s)
	}
	l, err := link.New(c)
	if err != nil {
		t.Fatal(err)
	}
	// Drops come at Interval/sqrt(count): the k-th about 2*sqrt(k)*100 ms
	// after the first.
	var drops []time.Duration
	for at := time.Duration(0); at < 4*time.Second; at += time.Second / 2000 {
		if d := l.Send(time.Unix(0, 0).Add(at), 1250); d.Reason == link.Waited {
			drops = append(drops, at)
		}
	}
	if len(drops) < 10 {
		t.Fatalf("%d drops", len(drops))
	}
	for i := 2; i < 10; i++ {
		if drops[i]-drops[i-1] > drops[i-1]-drops[i-2] {
			t.Errorf("drops at %v", drops[:10])
		}
	}
}

// A sender that reacts as TCP does keeps a queue at CoDel's target instead of
// the end of the buffer.
func TestCoDelWithAReactingSender(t *testing.T) {
	wait := func(codel bool) (mean time.Duration, share float64) {
		const size, delay = 1250, 20 * time.Millisecond
		l, err := link.New(link.Config{Rate: 10e6, Queue: 250_000, Delay: delay, CoDel: codel})
		if err != nil {
			t.Fatal(err)
		}
		// Additive increase, multiplicative decrease, once a round trip.
		window := 10.0
		now := time.Unix(0, 0)
		var total time.Duration
		var n, bits int
		for range 2000 {
			lost, last := false, now
			for range int(window) {
				d := l.Send(now, size)
				if len(d.Times()) == 0 {
					lost = true
					continue
				}
				last = d.Times()[0]
				total += last.Sub(now) - delay
				n++
				bits += size * 8
			}
			now = last.Add(delay)
			if lost {
				window = math.Max(2, window/2)
			} else {
				window++
			}
		}
		return total / time.Duration(n), float64(bits) / now.Sub(time.Unix(0, 0)).Seconds() / 10e6
	}
	tail, used := wait(false)
	codel, usedCoDel := wait(true)
	t.Logf("mean wait: tail drop %v at %.2f of the rate, CoDel %v at %.2f", tail, used, codel, usedCoDel)
	if codel > tail*2/3 || usedCoDel < 0.5 {
		t.Errorf("mean wait: tail drop %v, CoDel %v, %.2f of the rate used", tail, codel, usedCoDel)
	}
}

// Corruption flips exactly one bit of the share of copies that was asked for,
// anywhere in the packet.
func TestCorruption(t *testing.T) {
	const n, share = 20000, 0.05
	l, err := link.New(link.Config{Corrupt: share, Duplicate: 0.1, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	copies, corrupted := 0, 0
	var where [100]int
	for range n {
		d := l.Send(time.Unix(0, 0), 100)
		for i := range d.Times() {
			copies++
			pkt := make([]byte, 100)
			d.Corrupt(i, pkt)
			ones := 0
			for at, b := range pkt {
				ones += bits.OnesCount8(b)
				if b != 0 {
					where[at]++
				}
			}
			if (ones == 1) != d.Corrupted(i) || ones > 1 {
				t.Fatalf("%d bits flipped, Corrupted %v", ones, d.Corrupted(i))
			}
			corrupted += ones
		}
		if d.Corrupted(2) {
			t.Fatal("a third copy")
		}
	}
	mean := share * float64(copies)
	if dev := 4 * math.Sqrt(mean*(1-share)); math.Abs(float64(corrupted)-mean) > dev {
		t.Errorf("%d of %d copies corrupted, want %.0f +- %.0f", corrupted, copies, mean, dev)
	}
	if s := l.Stats(); s.Corrupted != uint64(corrupted) {
		t.Errorf("%+v", s)
	}
	for at, k := range where {
		if k == 0 || k > 40 { // 11 expected
			t.Errorf("byte %d was hit %d times", at, k)
		}
	}
	d := l.Send(time.Unix(0, 0), 0)
	d.Corrupt(0, nil) // nothing to flip
}

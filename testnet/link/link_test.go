package link_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"shipworm/testnet/link"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const ms = time.Millisecond

func newLink(t testing.TB, c link.Config) *link.Link {
	t.Helper()
	l, err := link.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// after sends a packet and returns how long each copy takes.
func after(l *link.Link, now time.Time, size int) (d []time.Duration, why link.Reason) {
	r := l.Send(now, size)
	for _, t := range r.Times() {
		d = append(d, t.Sub(now))
	}
	return d, r.Reason
}

func TestZeroConfigIsAPerfectLine(t *testing.T) {
	l := newLink(t, link.Config{})
	for range 1000 {
		if d, why := after(l, start, 65535); why != link.Delivered || len(d) != 1 || d[0] != 0 {
			t.Fatalf("%v, %v", d, why)
		}
	}
}

func TestDelay(t *testing.T) {
	l := newLink(t, link.Config{Delay: 30 * ms})
	if d, _ := after(l, start, 100); len(d) != 1 || d[0] != 30*ms {
		t.Errorf("took %v", d)
	}
}

// Jitter spreads over its whole range and never reorders.
func TestJitter(t *testing.T) {
	l := newLink(t, link.Config{Delay: 30 * ms, Jitter: 10 * ms, Seed: 1})
	lo, hi := time.Hour, time.Duration(0)
	var last time.Time
	now := start
	for range 1000 {
		now = now.Add(20 * ms)
		r := l.Send(now, 100)
		at := r.Times()[0]
		lo, hi = min(lo, at.Sub(now)), max(hi, at.Sub(now))
		last = at
	}
	if lo < 30*ms || lo > 31*ms || hi > 40*ms || hi < 39*ms {
		t.Errorf("delays %v to %v, want 30 to 40 ms", lo, hi)
	}
	for range 1000 { // dense: jitter would reorder if it could
		now = now.Add(ms / 10)
		r := l.Send(now, 100)
		if at := r.Times()[0]; at.Before(last) {
			t.Fatal("jitter reordered packets")
		} else {
			last = at
		}
	}
}

// The share lost is the one asked for; with Burst, runs have the mean length
// asked for.
func TestLoss(t *testing.T) {
	const n = 1_000_000
	for _, tc := range []struct {
		name        string
		loss, burst float64
		run         float64 // expected mean run
	}{
		{"none", 0, 0, 0},
		{"all", 1, 0, n},
		{"single 10 %", 0.1, 0, 1 / 0.9},
		{"single 30 %", 0.3, 0, 1 / 0.7},
		{"bursts of 5, 10 %", 0.1, 5, 5},
		{"bursts of 20, 2 %", 0.02, 20, 20},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLink(t, link.Config{Loss: tc.loss, Burst: tc.burst, Seed: 2})
			lost, runs, in := 0, 0, false
			for range n {
				_, why := after(l, start, 100)
				bad := why == link.Lost
				if bad {
					lost++
					if !in {
						runs++
					}
				}
				in = bad
			}
			if got := float64(lost) / n; math.Abs(got-tc.loss) > 0.1*tc.loss+1e-9 {
				t.Errorf("lost %.4f, want %.4f", got, tc.loss)
			}
			if got := float64(lost) / float64(max(runs, 1)); math.Abs(got-tc.run) > 0.1*tc.run {
				t.Errorf("mean run %.2f, want %.2f", got, tc.run)
			}
			if l.Stats().Lost != uint64(lost) || l.Stats().Sent != n {
				t.Errorf("stats %+v", l.Stats())
			}
		})
	}
}

func TestDuplicate(t *testing.T) {
	l := newLink(t, link.Config{Delay: 5 * ms, Duplicate: 0.25, Seed: 3})
	twice := 0
	for range 20000 {
		d, _ := after(l, start, 100)
		if len(d) == 2 {
			twice++
		}
		for _, x := range d {
			if x != 5*ms {
				t.Fatalf("a copy took %v", x)
			}
		}
	}
	if twice < 4700 || twice > 5300 {
		t.Errorf("%d of 20000 came twice, want a quarter", twice)
	}
}

// Held packets are overtaken by exactly those sent during the hold.
func TestReorder(t *testing.T) {
	l := newLink(t, link.Config{Delay: 20 * ms, Reorder: 0.1, Hold: 7 * ms, Seed: 4})
	now := start
	held, overtaken := 0, 0
	var arrivals []time.Time
	for range 5000 {
		now = now.Add(2 * ms)
		r := l.Send(now, 100)
		at := r.Times()[0]
		switch at.Sub(now) {
		case 20 * ms:
		case 27 * ms:
			held++
		default:
			t.Fatalf("took %v", at.Sub(now))
		}
		arrivals = append(arrivals, at)
	}
	for i := 1; i < len(arrivals); i++ {
		if arrivals[i].Before(arrivals[i-1]) {
			overtaken++
		}
	}
	if held < 400 || held > 600 || overtaken == 0 || l.Stats().Reordered != uint64(held) {
		t.Errorf("%d held, %d overtaken, stats %+v", held, overtaken, l.Stats())
	}
	if d, _ := after(newLink(t, link.Config{Reorder: 1}), start, 1); d[0] != ms {
		t.Errorf("default hold %v, want 1ms", d[0])
	}
}

// 1 Mbit/s is 1000 bytes in 8 ms; a second packet waits for the first.
func TestRate(t *testing.T) {
	l := newLink(t, link.Config{Rate: 1e6, Delay: 10 * ms})
	for i, want := range []time.Duration{18 * ms, 26 * ms, 34 * ms} {
		if d, _ := after(l, start, 1000); len(d) != 1 || d[0] != want {
			t.Errorf("packet %d took %v, want %v", i, d, want)
		}
	}
	if d, _ := after(l, start.Add(time.Second), 1000); d[0] != 18*ms {
		t.Errorf("on an idle line again: %v", d)
	}
}

// The queue holds exactly its bytes, the packet being sent included, and drops
// at the tail.
func TestQueue(t *testing.T) {
	l := newLink(t, link.Config{Rate: 1e6, Queue: 3000})
	for i := range 3 {
		if _, why := after(l, start, 1000); why != link.Delivered {
			t.Fatalf("packet %d: %v", i, why)
		}
	}
	if _, why := after(l, start, 1); why != link.QueueFull {
		t.Errorf("byte 3001: %v", why)
	}
	// After 4 ms 500 bytes have left.
	if _, why := after(l, start.Add(4*ms), 501); why != link.QueueFull {
		t.Errorf("501 bytes into 500: %v", why)
	}
	if d, why := after(l, start.Add(4*ms), 500); why != link.Delivered || d[0] != 24*ms {
		t.Errorf("500 bytes into 500: %v, %v", d, why)
	}
	if got := l.Stats().QueueFull; got != 2 {
		t.Errorf("counted %d", got)
	}
	// A packet larger than the queue still leaves an idle line.
	if _, why := after(l, start.Add(time.Second), 9000); why != link.Delivered {
		t.Error(why)
	}
}

func TestMTU(t *testing.T) {
	l := newLink(t, link.Config{MTU: 1280})
	if _, why := after(l, start, 1280); why != link.Delivered {
		t.Error(why)
	}
	if _, why := after(l, start, 1281); why != link.TooBig {
		t.Error(why)
	}
}

func TestSetConfig(t *testing.T) {
	l := newLink(t, link.Config{})
	if err := l.SetConfig(link.Config{Loss: 2}); err == nil {
		t.Error("a bad configuration was accepted")
	}
	if err := l.SetConfig(link.Config{Loss: 1}); err != nil {
		t.Fatal(err)
	}
	if _, why := after(l, start, 1); why != link.Lost {
		t.Errorf("on a black hole: %v", why)
	}
	if err := l.SetConfig(link.Config{}); err != nil {
		t.Fatal(err)
	}
	if _, why := after(l, start, 1); why != link.Delivered {
		t.Errorf("mended: %v", why)
	}
}

func TestValidate(t *testing.T) {
	err := link.Config{Loss: math.NaN(), Reorder: -1, Duplicate: 2, Burst: -1, Delay: -1, Rate: -1}.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"loss NaN", "reorder -1", "duplicate 2", "burst -1", "negative delay", "negative rate"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if err := (link.Config{Loss: 0.9, Burst: 2}).Validate(); err == nil {
		t.Error("90 % loss in runs of two was accepted")
	}
}

// L-02: same seed and calls, same answers; whatever the configuration, nothing
// arrives before the line's delay, more than twice, or faster than its rate.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		share := rapid.Float64Range(0, 1)
		c := link.Config{
			Delay:  time.Duration(rapid.IntRange(0, 100).Draw(t, "delay")) * ms,
			Jitter: time.Duration(rapid.IntRange(0, 50).Draw(t, "jitter")) * ms,
			Loss:   share.Draw(t, "loss"), Reorder: share.Draw(t, "reorder"), Duplicate: share.Draw(t, "duplicate"),
			Rate:  rapid.Int64Range(0, 1e7).Draw(t, "rate"),
			Queue: rapid.IntRange(0, 10000).Draw(t, "queue"),
			Seed:  rapid.Uint64().Draw(t, "seed"),
		}
		a, err := link.New(c)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := link.New(c)
		now := start
		carried := 0
		for range rapid.IntRange(1, 50).Draw(t, "packets") {
			now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "gap")) * ms)
			size := rapid.IntRange(1, 1500).Draw(t, "size")
			x, y := a.Send(now, size), b.Send(now, size)
			if x != y {
				t.Fatalf("equal links differ: %v, %v", x, y)
			}
			if (x.Reason == link.Delivered) != (len(x.Times()) > 0) {
				t.Fatalf("%v with %d copies", x.Reason, len(x.Times()))
			}
			if x.Reason == link.Delivered {
				carried += size
			}
			for _, at := range x.Times() {
				if at.Before(now.Add(c.Delay)) {
					t.Fatalf("arrived after %v on a line of %v", at.Sub(now), c.Delay)
				}
				if c.Rate > 0 {
					need := time.Duration(float64(carried) * 8 / float64(c.Rate) * float64(time.Second))
					if got := at.Sub(start.Add(c.Delay)); got < need-time.Microsecond {
						t.Fatalf("%d bytes in %v at %d bit/s", carried, got, c.Rate)
					}
				}
			}
		}
	})
}

func TestSendAllocatesNothing(t *testing.T) {
	l := newLink(t, link.Config{Delay: ms, Jitter: ms, Loss: 0.1, Reorder: 0.1, Duplicate: 0.1, Rate: 1e9, Seed: 1})
	now := start
	if got := testing.AllocsPerRun(1000, func() {
		now = now.Add(ms)
		d := l.Send(now, 1000)
		_ = d.Times()
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkSend(b *testing.B) {
	l := newLink(b, link.Config{Delay: 20 * ms, Jitter: ms, Loss: 0.01, Reorder: 0.01, Rate: 1e9, Seed: 1})
	now := start
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(10 * time.Microsecond)
		l.Send(now, 1280)
	}
}

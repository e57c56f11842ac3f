// Package link is the laboratory's model of one direction of a network line:
// delay, jitter, loss (single or in bursts), reordering, duplication,
// corruption, a bit rate with a byte queue that drops at the tail or by CoDel
// (RFC 8289), and a largest packet.
//
// A Link is pure: it is handed the time and the size of a packet and answers
// when copies of it come out at the other end, or why none does. It holds no
// packet, clock or goroutine, and the same seed and calls give the same
// answers. Since it never sees bytes, it says which bit of a copy to flip, and
// [Delivery.Corrupt] does it.
//
// CoDel is asked when a packet arrives, for the time at which it would leave
// the queue. That is the same decision as at the far end of the queue, as long
// as nothing is taken out of order; but a packet that CoDel drops has waited
// for nothing, so its time on the wire goes to the next one.
//
//	l, _ := link.New(link.Config{Delay: 20 * time.Millisecond, Loss: 0.01, Seed: 1})
//	d := l.Send(now, len(pkt))
//	for _, t := range d.Times() {
//		deliverAt(t, pkt)
//	}
package link

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// DefaultQueue is the queue of a line with a rate, in bytes, where Config
// names none: about what a home router holds.
const DefaultQueue = 64 << 10

// Defaults of CoDel.
const (
	DefaultTarget   = 5 * time.Millisecond   // RFC 8289, 4.3
	DefaultInterval = 100 * time.Millisecond // RFC 8289, 4.3
)

// Config describes one direction of a line. The zero value is a perfect line:
// packets arrive at once, in order, all of them.
type Config struct {
	Delay     time.Duration // time on the line
	Jitter    time.Duration // added to Delay, uniform in 0..Jitter; never reorders by itself
	Loss      float64       // share of packets lost, 0..1
	Burst     float64       // mean length of a run of losses, in packets; below 1 = independent losses
	Reorder   float64       // share of packets held back so that later ones overtake, 0..1
	Hold      time.Duration // how long a reordered packet is held; 0 = Delay/4, but at least 1 ms
	Duplicate float64       // share of packets that arrive twice, 0..1
	Corrupt   float64       // share of copies that arrive with one bit flipped, 0..1
	Rate      int64         // bit/s; 0 = unlimited
	Queue     int           // bytes waiting for Rate, the packet in transmission included; 0 = DefaultQueue
	CoDel     bool          // drops by CoDel before the queue is full; needs Rate
	Target    time.Duration // of CoDel: the wait it accepts; 0 = DefaultTarget
	Interval  time.Duration // of CoDel: for how long it accepts more; 0 = DefaultInterval
	MTU       int           // largest packet in bytes; 0 = unlimited
	Seed      uint64        // of the dice; equal seeds give equal lines
}

// Validate returns every problem of the configuration, joined.
func (c Config) Validate() error {
	var errs []error
	share := func(name string, v float64) {
		if !(v >= 0 && v <= 1) {
			errs = append(errs, fmt.Errorf("%s %v is not in 0..1", name, v))
		}
	}
	share("loss", c.Loss)
	share("reorder", c.Reorder)
	share("duplicate", c.Duplicate)
	share("corrupt", c.Corrupt)
	if !(c.Burst >= 0 && c.Burst <= 1e6) {
		errs = append(errs, fmt.Errorf("burst %v is not in 0..1e6", c.Burst))
	}
	if c.Burst >= 1 && c.Loss > 0 && c.Loss < 1 && c.Loss/(1-c.Loss) > c.Burst {
		errs = append(errs, fmt.Errorf("loss %v cannot come in bursts as short as %v", c.Loss, c.Burst))
	}
	if c.Delay < 0 || c.Jitter < 0 || c.Hold < 0 || c.Target < 0 || c.Interval < 0 {
		errs = append(errs, errors.New("a negative delay, jitter, hold, target or interval"))
	}
	if c.CoDel && c.Rate == 0 {
		errs = append(errs, errors.New("CoDel without a rate has no queue: want both"))
	}
	if c.Rate < 0 || c.Queue < 0 || c.MTU < 0 {
		errs = append(errs, errors.New("a negative rate, queue or MTU"))
	}
	if len(errs) > 0 {
		return fmt.Errorf("link: %w", errors.Join(errs...))
	}
	return nil
}

// Reason says why a packet did not come out, or came out strangely.
type Reason uint8

// Reasons. Delivered is the zero value.
const (
	Delivered Reason = iota
	Lost
	QueueFull
	TooBig
	Waited // by CoDel
)

// String returns the reason as a plain English fragment.
func (r Reason) String() string {
	switch r {
	case Delivered:
		return "delivered"
	case Lost:
		return "lost on the line"
	case QueueFull:
		return "the line's queue is full"
	case TooBig:
		return "larger than the line's MTU"
	case Waited:
		return "dropped by CoDel: packets wait too long"
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// A Delivery is the fate of one packet.
type Delivery struct {
	Reason Reason // Delivered, or why not
	n      int
	at     [2]time.Time
	flip   [2]uint32 // 1 + a number for the bit to flip; 0 = none
}

// Times returns when copies arrive: none, one, or two where the line
// duplicates. The slice shares the Delivery's storage.
func (d *Delivery) Times() []time.Time { return d.at[:d.n] }

// Corrupted reports whether copy i of Times arrives with a bit flipped.
func (d *Delivery) Corrupted(i int) bool { return i < d.n && d.flip[i] != 0 }

// Corrupt flips the bit that copy i of Times loses on the way, in pkt, which
// must be that copy's own. It does nothing to copies that arrive whole.
func (d *Delivery) Corrupt(i int, pkt []byte) {
	if d.Corrupted(i) && len(pkt) > 0 {
		bit := uint64(d.flip[i]-1) * uint64(len(pkt)) * 8 >> 31
		pkt[bit/8] ^= 1 << (bit % 8)
	}
}

// Stats counts packets since New; Corrupted counts copies.
type Stats struct {
	Sent, Lost, QueueFull, TooBig, Reordered, Duplicated uint64
	Waited, Corrupted                                    uint64
}

// A Link is one direction of a line. It is not safe for concurrent use.
type Link struct {
	cfg   Config
	rng   *rand.Rand
	busy  time.Time // when the transmitter has sent all that is queued
	last  time.Time // latest in-order arrival: jitter never overtakes it
	bad   bool      // inside a run of losses
	codel codel
	stats Stats
}

// New returns an idle link.
func New(c Config) (*Link, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &Link{cfg: c, rng: rand.New(rand.NewPCG(c.Seed, 0x6c696e6b))}, nil
}

// Config returns the configuration in force.
func (l *Link) Config() Config { return l.cfg }

// SetConfig changes the line while packets may be on it; those keep their
// times. The dice go on where they are: Seed is ignored.
func (l *Link) SetConfig(c Config) error {
	if err := c.Validate(); err != nil {
		return err
	}
	l.cfg = c
	return nil
}

// Stats returns the counters.
func (l *Link) Stats() Stats { return l.stats }

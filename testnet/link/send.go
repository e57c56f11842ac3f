package link

import "time"

// Send puts a packet of size bytes on the line at now and says what becomes of
// it. now must not go backwards between calls; a packet is either dropped or
// delivered once or twice.
//
// The order of effects is that of a real line: the queue before the
// transmitter may overflow, then the packet may be lost on the way, so a lost
// packet has used its share of the rate.
func (l *Link) Send(now time.Time, size int) Delivery {
	c := &l.cfg
	l.stats.Sent++
	if c.MTU > 0 && size > c.MTU {
		l.stats.TooBig++
		return Delivery{Reason: TooBig}
	}
	depart := now
	if c.Rate > 0 {
		if l.busy.After(now) {
			depart = l.busy
			if l.waiting(now)+size > l.queue() {
				l.stats.QueueFull++
				return Delivery{Reason: QueueFull}
			}
		}
		if c.CoDel && l.codel.drops(depart, depart.Sub(now), l.waiting(now), c) {
			l.stats.Waited++
			return Delivery{Reason: Waited}
		}
		depart = depart.Add(transmission(size, c.Rate))
		l.busy = depart
	}
	if l.lose() {
		l.stats.Lost++
		return Delivery{Reason: Lost}
	}
	d := Delivery{n: 1}
	d.at[0] = l.arrive(depart)
	if c.Duplicate > 0 && l.rng.Float64() < c.Duplicate {
		l.stats.Duplicated++
		d.n = 2
		d.at[1] = l.arrive(depart)
	}
	if c.Corrupt > 0 {
		for i := range d.n {
			if l.rng.Float64() < c.Corrupt {
				l.stats.Corrupted++
				d.flip[i] = 1 + l.rng.Uint32N(1<<31)
			}
		}
	}
	return d
}

func (l *Link) queue() int {
	if l.cfg.Queue > 0 {
		return l.cfg.Queue
	}
	return DefaultQueue
}

// waiting is the number of bytes not yet on the wire, rounded up.
func (l *Link) waiting(now time.Time) int {
	left := l.busy.Sub(now)
	whole := int64(left/time.Second) * l.cfg.Rate
	part := mulDiv(int64(left%time.Second), l.cfg.Rate, int64(time.Second))
	return int((whole + part + 7) / 8)
}

// transmission is the time that size bytes take at rate bit/s, rounded up to
// a nanosecond so that a rate is never exceeded.
func transmission(size int, rate int64) time.Duration {
	bits := int64(size) * 8
	return time.Duration((bits*int64(time.Second) + rate - 1) / rate)
}

// mulDiv is a*b/c for a < c without overflow for rates up to 9 Tbit/s.
func mulDiv(a, b, c int64) int64 {
	return a*(b/c) + a*(b%c)/c
}

// lose throws the dice for one packet. With Burst it is Gilbert's model: a
// line that is good or bad, where the mean bad run is Burst packets and the
// share of bad packets is Loss.
func (l *Link) lose() bool {
	c := &l.cfg
	switch {
	case c.Loss <= 0:
		l.bad = false
	case c.Loss >= 1:
		l.bad = true
	case c.Burst < 1:
		l.bad = l.rng.Float64() < c.Loss
	case l.bad:
		l.bad = l.rng.Float64() >= 1/c.Burst
	default:
		l.bad = l.rng.Float64() < c.Loss/(c.Burst*(1-c.Loss))
	}
	return l.bad
}

// arrive returns the arrival of a packet that left the transmitter at depart.
func (l *Link) arrive(depart time.Time) time.Time {
	c := &l.cfg
	t := depart.Add(c.Delay)
	if c.Jitter > 0 {
		t = t.Add(time.Duration(l.rng.Int64N(int64(c.Jitter) + 1)))
	}
	if c.Reorder > 0 && l.rng.Float64() < c.Reorder {
		l.stats.Reordered++
		hold := c.Hold
		if hold == 0 {
			hold = max(c.Delay/4, time.Millisecond)
		}
		return t.Add(hold)
	}
	if t.Before(l.last) {
		t = l.last
	}
	l.last = t
	return t
}

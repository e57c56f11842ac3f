package engine

import (
	"io"
	"net/netip"
	"time"

	"shipworm/teredo/wire"
)

// Bounds of the determination of the refresh interval (RFC 4380, 5.2.7).
const (
	longestRefresh = 120 * time.Second
	intervalProbes = 4 // bubbles at bubbleGap: one, and three repetitions
)

// interval determines how long the NAT keeps an idle mapping, with the mapping
// of a port that does nothing else: it rests for the interval in question, and
// then a bubble must find it. The bubble goes through the server, for that is
// whom the maintained mapping is open towards, and most NATs let nobody through
// from inside to their own outside.
type interval struct {
	side      sidePort
	next      time.Time // zero: not under way
	tries     int
	step      intervalStep
	own       netip.Addr // the Teredo address of the side port
	bubble    [4]byte    // nonce of the last bubble
	candidate time.Duration
	most      time.Duration
}

type intervalStep uint8

const (
	soliciting intervalStep = iota
	resting
	probing
)

// startInterval begins the procedure, if that is asked for, now that there is
// an address.
func (c *Client) startInterval(now time.Time, out *Output) {
	c.stopInterval()
	c.refresh = c.config.Refresh
	if c.config.FindRefresh && c.openSide(&c.interval.side, out) {
		c.interval.next = now
		c.interval.candidate, c.interval.most = 2*c.refresh, longestRefresh
		c.tickInterval(now, out)
	}
}

func (c *Client) stopInterval() {
	c.closeSide(&c.interval.side)
	c.interval = interval{}
}

func (c *Client) tickInterval(now time.Time, out *Output) {
	t := &c.interval
	if t.next.IsZero() || now.Before(t.next) {
		return
	}
	gaps := c.gaps()
	switch {
	case t.step == soliciting && t.tries < len(gaps):
		t.next = now.Add(gaps[t.tries])
		t.tries++
		c.solicitSide(&t.side, false, out)
	case t.step == soliciting:
		c.stopInterval() // what was found so far stands
	case t.step == probing && t.tries == intervalProbes:
		t.most = t.candidate
		c.nextInterval(now, out)
	default:
		if t.step == resting {
			t.step, t.tries = probing, 0
		}
		t.next = now.Add(bubbleGap)
		t.tries++
		if _, err := io.ReadFull(c.rand, t.bubble[:]); err != nil {
			c.drop(DropRandom)
			return
		}
		c.bubble(c.server(0), c.own, t.own, &wire.Trailers{HasNonce: true, Nonce: t.bubble}, out)
	}
}

// nextInterval goes on to the next candidate, unless the interval is known well
// enough.
func (c *Client) nextInterval(now time.Time, out *Output) {
	t := &c.interval
	if c.refresh >= t.most*3/4 {
		c.stopInterval()
		return
	}
	t.candidate = min(2*c.refresh, (c.refresh+t.most)/2)
	t.step, t.tries, t.next = soliciting, 0, now
	c.tickInterval(now, out)
}

// receiveInterval takes in a datagram at the side port.
func (c *Client) receiveInterval(now time.Time, from netip.AddrPort, out *Output) {
	t, d := &c.interval, &c.d
	switch {
	case c.fromServer(from) != 0:
		c.drop(DropMismatch)
	case isAdvertisement(d.IPv6):
		if c.answersSide(&t.side, false) && t.step == soliciting {
			t.side.nonces = t.side.nonces[:0]
			t.own = wire.AddressFrom(c.config.Server, c.flags, d.Origin).Addr()
			t.step, t.next = resting, now.Add(t.candidate)
		}
	case t.step != probing || !d.IPv6.IsBubble() || d.IPv6.Source() != c.own || d.IPv6.Destination() != t.own:
		c.drop(DropNotOurs)
	case c.badTrailers():
	case !c.t.HasNonce || c.t.Nonce != t.bubble:
		c.drop(DropNonce)
	default:
		c.refresh = t.candidate
		c.nextInterval(now, out)
	}
}

package engine

import (
	"net/netip"
	"time"

	"shipworm/teredo/wire"
)

// Birthday probing joins a peer behind a port-restricted NAT with one behind a
// symmetric NAT that nobody can foretell, which RFC 6081 gives up on. The
// symmetric end opens k ports, each with a mapping towards the other, somewhere
// among the 64,512 of its address; the other sends to up to m of these, no port
// twice, until one hits: the 252nd on average. None does with a chance below
// exp(-k*m/64512), which is nothing with one address; of a NAT that has two, each
// with half of the ports, it is 1 in 200,000, and at 10 % loss 1 in 60,000.
//
// The price: 256 ports for some seconds, and at most 6,144 datagrams of about 90
// bytes, all to the one IPv4 address that just proved, by returning a nonce
// through the servers, to be the peer's own. The ports wait for as long as the
// attempt lasts. One peer at a time, and none twice within the window of the
// bubble limits (RFC 4380, 5.2.6).
const (
	birthdayPorts  = 256
	birthdayProbes = 6144

	birthdayWait  = 300 * time.Millisecond // for bubbles that do without
	birthdayGap   = 20 * time.Millisecond  // between bursts
	birthdayBurst = 32                     // so 1,600 a second
	birthdayAgain = 2 * time.Second        // half of the probes are left
	lowestPort    = 1024

	// Both must know of each other before it begins. Each message may be lost,
	// and the next try would be 2 s later, so it is repeated.
	nagGap   = 300 * time.Millisecond
	nagTries = 4 // for each message that came

	// Two ports may hit within a round trip, and each end take another one for
	// the way. As long as that may turn out, a fresh nonce moves the peer.
	birthdayDoubt = 10 * time.Second
	portSpace     = 1<<16 - lowestPort
)

// birthday is a probing under way.
type birthday struct {
	peer *peer     // nil: none
	next time.Time // the next burst
	left int       // ports to open, or ports to probe
	at   uint32    // the last number probed, in steps of step
	step uint32
	open []uint16 // ports whose packets went no farther than our NAT
}

// chance reports whether only a birthday may join us with the peer.
func (c *Client) chance(x *crossing) bool {
	opens := c.nat == wire.NATRandom && x.nat == wire.NATIndependent
	probes := c.nat == wire.NATIndependent && x.nat == wire.NATRandom
	return (opens || probes) && !x.mapped && c.forward() == 0
}

// congratulate begins to probe for p if that is the only way left: both ends
// know that one NAT is random and the other keeps its mapping.
func (c *Client) congratulate(now time.Time, p *peer, out *Output) {
	x := p.x
	if c.birthday.peer != nil || !p.trying || p.waiting || !x.echoed || !c.chance(x) {
		return
	}
	if c.nat == wire.NATIndependent && !x.open {
		return // the ports come first
	}
	if !x.probed.IsZero() && now.Sub(x.probed) < bubbleWindow {
		return
	}
	if !p.wanted && !c.strange.take(now, 1) {
		c.drop(DropAnswerLimit)
		return
	}
	x.probed = now
	if c.nat == wire.NATIndependent {
		x.nags = 0 // it has all that it asked for
	}
	c.birthday = birthday{peer: p, next: now.Add(birthdayWait), left: birthdayPorts}
	if c.nat == wire.NATIndependent {
		// Numbers in steps that have no factor in common with how many there
		// are visit each once, and none can be foretold.
		c.birthday.left = birthdayProbes
		c.birthday.at = uint32(c.jitter.IntN(portSpace))
		c.birthday.step = coprime(uint32(c.jitter.IntN(portSpace)))
	} else {
		c.invite(now, p, out)
	}
	c.plan(p)
}

// doubtful reports whether p may have settled for another port than we did.
func (p *peer) doubtful(now time.Time) bool {
	return p.x != nil && !p.x.probed.IsZero() && now.Sub(p.x.probed) < birthdayDoubt
}

// nag has p invited again and again, now that it is known to be there: where a
// NAT is symmetric, the ends need each other's messages to find a way. Two ends
// that both cannot be foretold have nothing to tell each other.
func (c *Client) nag(now time.Time, p *peer) {
	x := p.x
	symmetric := c.symmetric() || x.nat > wire.NATIndependent
	done := c.chance(x) && c.nat == wire.NATIndependent && !x.probed.IsZero()
	hopeless := c.nat == wire.NATRandom && x.nat == wire.NATRandom && !x.mapped && c.forward() == 0
	if !p.trying || p.waiting || !x.announced || !symmetric || done || hopeless {
		return
	}
	gap, times := c.nagging(x)
	if x.nags == 0 {
		x.nagAt = now.Add(gap)
	}
	x.nags = times
}

// nagging returns how long an invitation waits to be repeated, and how often it
// is, for each message that came. A sequential NAT takes its time: it answers
// once its end has asked the server.
func (c *Client) nagging(x *crossing) (gap time.Duration, times int) {
	if c.nat == wire.NATSequential || x.nat == wire.NATSequential {
		return 2 * nagGap, nagTries / 2
	}
	return nagGap, nagTries
}

// goOnNagging sends the invitation that is due.
func (c *Client) goOnNagging(now time.Time, p *peer, out *Output) {
	p.x.nags--
	gap, _ := c.nagging(p.x)
	p.x.nagAt = now.Add(gap)
	if p.x.test.next.IsZero() { // else it will tell more in a moment
		c.invite(now, p, out)
	}
}

// coprime returns the next number from n on that has no factor in common with
// portSpace, which is 2^10 * 3^2 * 7.
func coprime(n uint32) uint32 {
	for n |= 1; n%3 == 0 || n%7 == 0; n += 2 {
	}
	return n
}

// goOnBirthday opens or probes a burst of ports. What opens one is not to arrive,
// see openerTTL; but our NAT may be farther away than it gets, so in the end
// each port sends once more.
func (c *Client) goOnBirthday(now time.Time, out *Output) {
	b := &c.birthday
	p := b.peer
	t := c.asking(now, p, solicits, p.embedded())
	b.next = now.Add(birthdayGap)
	switch {
	case b.step != 0:
		for range min(birthdayBurst, b.left) {
			b.left--
			b.at = (b.at + b.step) % portSpace
			to := netip.AddrPortFrom(p.embedded().Addr(), uint16(lowestPort+b.at))
			if portPermitted(to.Port()) {
				c.bubbleTo(now, p, 0, to, 0, t, out)
			}
		}
	case b.left > 0:
		for range min(birthdayBurst, b.left) {
			b.left--
			if port := c.openPort(p, out); port != 0 {
				b.open = append(b.open, port)
				c.bubbleTo(now, p, port, p.embedded(), openerTTL, t, out)
			}
		}
		if b.left == 0 {
			b.next = now.Add(birthdayAgain)
		}
	default:
		n := min(birthdayBurst, len(b.open))
		for _, port := range b.open[:n] {
			c.bubbleTo(now, p, port, p.embedded(), 0, t, out)
		}
		b.open = b.open[n:]
	}
	if b.left == 0 && len(b.open) == 0 {
		c.birthday = birthday{}
	}
}

package engine

import (
	"net/netip"
	"time"

	"shipworm/teredo/wire"
)

// try starts an attempt to reach p, unless one is under way.
func (c *Client) try(now time.Time, p *peer, out *Output) {
	if p.trying {
		return
	}
	p.tries = 0
	if p.teredo && now.Before(c.mappingTest.until) {
		// What kind of NAT it is, decides how; the answer is on its way.
		p.trying, p.waiting, p.tryAt = true, true, c.mappingTest.until
		c.peers.due.set(p, p.tryAt)
		return
	}
	c.attempt(now, p, out)
}

// tickPeers does what is due for peers.
func (c *Client) tickPeers(now time.Time, out *Output) {
	for len(c.peers.due) > 0 && !now.Before(c.peers.due[0].due) {
		c.tickPeer(now, c.peers.due[0], out)
	}
}

func (c *Client) tickPeer(now time.Time, p *peer, out *Output) {
	switch {
	case !p.trying && c.goOnDemanding(now, p, out):
		return
	case !p.trying:
		c.keepPort(now, p, out)
		return
	case c.birthday.peer == p && !now.Before(c.birthday.next):
		c.goOnBirthday(now, out)
	case p.x != nil && p.x.nags > 0 && !now.Before(p.x.nagAt):
		c.goOnNagging(now, p, out)
	case p.x != nil && !p.x.test.next.IsZero() && !now.Before(p.x.test.next):
		c.repeatEcho(now, p, out)
	case !now.Before(p.tryAt):
		p.waiting = false
		c.attempt(now, p, out)
		return
	}
	c.plan(p)
}

// plan schedules the next thing that is due for p, whose attempt is under way.
func (c *Client) plan(p *peer) {
	at := p.tryAt
	if p.x != nil {
		at = earliest(at, p.x.test.next)
		if p.x.nags > 0 {
			at = earliest(at, p.x.nagAt)
		}
	}
	if c.birthday.peer == p {
		at = earliest(at, c.birthday.next)
	}
	c.peers.due.set(p, at)
}

// attempt makes the next try of p's attempt, or ends it.
func (c *Client) attempt(now time.Time, p *peer, out *Output) {
	if p.quiet(now) && p.asked < quietAsks {
		// The way is there as like as not: the server is left in peace.
		p.asked++
		p.trying = true
		c.bubbleTo(now, p, p.port, p.mapped, 0, c.asking(now, p, solicits, p.mapped), out)
		c.again(p, now.Add(bubbleGap))
		return
	}
	if p.tries == bubbleTries {
		c.fail(now, p, out)
		return
	}
	if !p.teredo {
		p.trying = true
		p.tries++
		c.test(now, p, c.server(0), out)
		c.again(p, now.Add(bubbleGap))
		return
	}
	ok, at := p.allowed(now)
	switch {
	case ok && (p.wanted || c.answers.take(now, 2)):
		p.trying = true
		p.tries++
		if p.history.n == bubbleTries {
			p.repeats++
		}
		c.punch(now, p, out)
		c.again(p, now.Add(bubbleGap))
	case !ok && at.Sub(now) <= bubbleGap:
		p.trying = true
		c.again(p, at)
	case !ok:
		c.drop(DropBubbleLimit)
		c.fail(now, p, out)
	default:
		c.drop(DropAnswerLimit)
		c.fail(now, p, out)
	}
}

// again plans the next try for at.
func (c *Client) again(p *peer, at time.Time) {
	p.tryAt = at
	c.plan(p)
}

// punch sends direct bubbles, which open our NAT, and an indirect one, which
// makes the peer open its own. Both carry our Teredo address, so that the peer
// can do the same at once. The direct ones also solicit an answer
// (RFC 6081, 3.6): should only one arrive, or only the answer be lost, nobody
// has to wait for the next try. Further tries add a link-local bubble, in case
// the peer knows no nonces.
func (c *Client) punch(now time.Time, p *peer, out *Output) {
	p.history.add(now)
	x := p.across()
	ttl := uint8(0)
	if p.tries == 1 && !x.heard && p.lastRx.IsZero() {
		ttl = openerTTL
	}
	c.extraPort(now, p, out)
	c.reach(now, p, ttl, solicits, out)
	c.reachLocal(now, p, out)
	if x.test.next.IsZero() {
		c.invite(now, p, out)
	}
	if a, _ := wire.AddressFromAddr(p.ip()); p.tries > 1 && x.nat == wire.NATUnknown && c.permitsServer(a.Server()) {
		x.tokens = true
		c.bubble(netip.AddrPortFrom(a.Server(), wire.Port), c.token.source(p.key, c.token.epoch(now)), p.ip(), &wire.Trailers{}, out)
	}
}

// fail gives an attempt up. The caller is told once a window, or once each two
// seconds as long as packets keep coming.
func (c *Client) fail(now time.Time, p *peer, out *Output) {
	c.calm(now, p)
	if p.usable(now) {
		return // only the sign of life failed to come
	}
	c.ports.keep(p, 0)
	c.emptyQueues(p, DropPeerFailed)
	if !p.wanted || (!p.told.IsZero() && now.Sub(p.told) < bubbleGap) {
		return
	}
	p.told = now
	ok, at := p.allowed(now)
	if ok {
		at = now
	}
	out.Events = append(out.Events, Event{Kind: PeerFailed, Peer: p.ip(), RetryAt: at})
}

// calm ends p's attempt.
func (c *Client) calm(now time.Time, p *peer) {
	p.trying, p.waiting = false, false
	if p.x != nil {
		p.x.nags = 0
	}
	if c.birthday.peer == p {
		c.birthday = birthday{}
	}
	c.peers.due.remove(p)
	if p.port != 0 && p.usable(now) {
		c.peers.due.set(p, now.Add(portRefresh))
	}
}

// heard notes a packet that came straight from p, whose trust it settles. The
// caller flushes p's queue.
func (c *Client) heard(now time.Time, p *peer, out *Output) {
	up := p.trust == proven && p.usable(now)
	solicited := !p.lastTx.IsZero()
	p.lastRx, p.unanswered = now, time.Time{}
	p.history.n, p.asked, p.repeats = 0, 0, 0
	if solicited {
		c.peers.prove(now, p, c)
		c.lastPeer = now
	} else if p.trust == unknown {
		p.trust = matched
	}
	c.peers.used(p)
	if p.trying {
		c.calm(now, p)
	}
	if !up && p.trust == proven {
		out.Events = append(out.Events, Event{Kind: PeerUp, Peer: p.ip(), Endpoint: p.mapped})
	}
}

// acknowledge answers a direct bubble of p, which may not have heard us yet.
func (c *Client) acknowledge(now time.Time, p *peer, kind trailerKind, out *Output) {
	if !c.permitsBubble(now, p, p.mapped) {
		return
	}
	if !p.answers.take(now, 1) || (!p.wanted && !c.acks.take(now, 1)) {
		c.drop(DropAnswerLimit)
		return
	}
	if !p.proof.given && kind == noTrailers {
		kind = solicits
	}
	c.bubbleTo(now, p, p.port, p.mapped, 0, c.asking(now, p, kind, p.mapped), out)
}

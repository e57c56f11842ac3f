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
	c.attempt(now, p, out)
}

// tickPeers goes on with the attempts that are due.
func (c *Client) tickPeers(now time.Time, out *Output) {
	for len(c.peers.due) > 0 && !now.Before(c.peers.due[0].due) {
		c.attempt(now, c.peers.due[0], out)
	}
}

// attempt makes the next try of p's attempt, or ends it.
func (c *Client) attempt(now time.Time, p *peer, out *Output) {
	if p.tries == bubbleTries {
		c.fail(now, p, out)
		return
	}
	if !p.teredo {
		p.trying = true
		p.tries++
		c.pingThroughServer(now, p, out)
		c.peers.due.set(p, now.Add(bubbleGap))
		return
	}
	ok, at := p.history.allowed(now)
	switch {
	case ok && (p.wanted || c.answers.take(now, 2)):
		p.trying = true
		p.tries++
		c.punch(now, p, out)
		c.peers.due.set(p, now.Add(bubbleGap))
	case !ok && at.Sub(now) <= bubbleGap:
		p.trying = true
		c.peers.due.set(p, at)
	case !ok:
		c.drop(DropBubbleLimit)
		c.fail(now, p, out)
	default:
		c.drop(DropAnswerLimit)
		c.fail(now, p, out)
	}
}

// punch sends a direct bubble, which opens our NAT, and an indirect one, which
// makes the peer open its own. Both carry our Teredo address, so that the peer
// can do the same at once. The direct one also solicits an answer
// (RFC 6081, 3.6): should only it arrive, or only the answer be lost, nobody
// has to wait for the next try.
func (c *Client) punch(now time.Time, p *peer, out *Output) {
	p.history.add(now)
	p.lastTx = now
	a, _ := wire.AddressFromAddr(p.ip())
	c.bubble(p.mapped, p.ip(), wire.DiscoverySolicitation, out)
	if !c.permitsServer(a.Server()) {
		c.drop(DropDenied) // a stranger's address may hold anything there
		return
	}
	c.bubble(netip.AddrPortFrom(a.Server(), wire.Port), p.ip(), wire.NoDiscovery, out)
}

// bubble sends a bubble from our address to dst in a datagram to ap.
func (c *Client) bubble(ap netip.AddrPort, dst netip.Addr, d wire.Discovery, out *Output) {
	start := len(out.buf)
	out.buf = wire.AppendBubble(out.buf, c.own, dst, wire.BubbleHopLimit)
	out.buf = wire.AppendTrailers(out.buf, &wire.Trailers{Discovery: d})
	out.built(ap, start)
}

// fail gives an attempt up. The caller is told once a window, or once each two
// seconds as long as packets keep coming.
func (c *Client) fail(now time.Time, p *peer, out *Output) {
	c.peers.due.remove(p)
	p.trying = false
	if p.usable(now) {
		return // only the sign of life failed to come
	}
	c.emptyQueues(p, DropPeerFailed)
	if !p.wanted || (!p.told.IsZero() && now.Sub(p.told) < bubbleGap) {
		return
	}
	p.told = now
	at := p.history.retryAt(now)
	if at.IsZero() {
		at = now
	}
	out.Events = append(out.Events, Event{Kind: PeerFailed, Peer: p.ip(), RetryAt: at})
}

// heard notes a packet that came straight from p, whose trust it settles.
func (c *Client) heard(now time.Time, p *peer, out *Output) {
	up := p.trust == proven && p.usable(now)
	solicited := !p.lastTx.IsZero()
	p.lastRx, p.unanswered = now, time.Time{}
	p.history.n = 0
	if solicited {
		c.peers.prove(now, p, c)
		c.lastPeer = now
	} else if p.trust == unknown {
		p.trust = matched
	}
	c.peers.used(p)
	if p.trying {
		p.trying = false
		c.peers.due.remove(p)
	}
	if !up && p.trust == proven {
		out.Events = append(out.Events, Event{Kind: PeerUp, Peer: p.ip(), Endpoint: p.mapped})
	}
	c.flush(now, p, out)
}

// acknowledge answers a direct bubble of p, which may not have heard us yet.
func (c *Client) acknowledge(now time.Time, p *peer, d wire.Discovery, out *Output) {
	if why, ok := c.policy.permitsNew(p.mapped); !ok {
		c.drop(why)
		return
	}
	if !p.answers.take(now, 1) || (!p.wanted && !c.acks.take(now, 1)) {
		c.drop(DropAnswerLimit)
		return
	}
	p.lastTx = now
	c.bubble(p.mapped, p.ip(), d, out)
}

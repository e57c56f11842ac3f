package engine

import (
	"time"

	"shipworm/teredo/wire"
)

// How often a peer is asked to prove itself: the gap doubles from the first to
// the last of these while it does not.
const (
	proofGap  = 300 * time.Millisecond
	proofGaps = 6
)

// proof is what is known of whether a Teredo peer receives where its packets
// seem to come from. Whoever forges one source forges the other: until the peer
// returned something that only a receiver there can know, it is sent at most
// creditFactor times the bytes that came from it. What it is asked is that: by
// a direct bubble with a nonce, which clients like this one return, and by an
// echo request, which most others answer. A nonce that went through the peer's
// server is as good only if that server is ours: of another, who made the
// address up may be the owner. Bubbles have limits of their own, and are only
// counted.
type proof struct {
	given  bool
	credit int       // bytes that may be sent without
	next   time.Time // not asked again before
	asks   int
}

// earn notes n bytes received.
func (f *proof) earn(n int) {
	if !f.given {
		f.credit = min(f.credit+creditFactor*n, creditFactor*queueBytes)
	}
}

// spend notes n bytes sent.
func (f *proof) spend(n int) {
	if !f.given {
		f.credit = max(0, f.credit-n)
	}
}

// affords reports whether n bytes of data may be sent.
func (f *proof) affords(n int) bool { return f.given || n <= f.credit }

// demand asks p to prove itself, if that is due: the host sends data to it.
func (c *Client) demand(now time.Time, p *peer, out *Output) {
	f := &p.proof
	if f.given || now.Before(f.next) || !c.permitsBubble(now, p, p.mapped) || !p.answers.take(now, 1) {
		return
	}
	f.next = now.Add(proofGap << min(f.asks, proofGaps))
	f.asks++
	x := p.across()
	if (f.asks%2 == 0) == x.trailers && !x.announced { // first what it is more likely to know
		c.test(now, p, p.mapped, out)
		return
	}
	c.bubbleTo(now, p, p.port, p.mapped, 0, c.asking(now, p, solicits, p.mapped), out)
}

// goOnDemanding reports whether data waits for p's proof, and asks again if so.
func (c *Client) goOnDemanding(now time.Time, p *peer, out *Output) bool {
	if p.proof.given {
		return false
	}
	if !p.usable(now) {
		c.emptyQueues(p, DropQueueOld)
		return false
	}
	c.flush(now, p, out)
	if len(p.out.packets) == 0 {
		return false
	}
	c.peers.due.set(p, now.Add(proofGap))
	return true
}

// believe takes in a nonce that came back from where p's packets come from.
func (c *Client) believe(now time.Time, p *peer, value [4]byte) {
	if p.x != nil && p.x.nonces.proves(now, value, p.source.Addr(), c.vouched(p)) {
		p.proof = proof{given: true}
	}
}

// vouched reports whether what goes to p through its server comes to where its
// packets come from: the server is our own, which knows no other way.
func (c *Client) vouched(p *peer) bool {
	a, _ := wire.AddressFromAddr(p.ip())
	return a.Server() == c.config.Server && a.Mapped().Addr() == p.source.Addr()
}

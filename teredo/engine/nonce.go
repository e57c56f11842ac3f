package engine

import (
	"io"
	"net/netip"
	"time"

	"shipworm/teredo/wire"
)

// Limits on the nonces of indirect bubbles: a guess has 32 bits to hit.
const (
	bubbleNonceLife = 10 * time.Second
	bubbleGuesses   = 3  // wrong ones from elsewhere, then all nonces of the peer are void
	proofGuesses    = 16 // wrong ones from the peer's own source, then none counts until the next is drawn
)

// bubbleNonce is a nonce that an indirect bubble of ours carried (Nonce Sent,
// RFC 6081, 5.2.1), or the announcement of direct ones. A direct bubble that
// returns it comes from the peer, whatever its source. It serves once for each
// kind of port: the service port and the extra ones are two ways that a peer
// may try at once.
type bubbleNonce struct {
	value [4]byte
	sent  time.Time      // zero: unused
	to    netip.AddrPort // straight there; invalid: through the peer's server
	says  said           // the indirect bubble
	spent [2]bool        // at the service port, at an extra port
}

// nonces are the last ones of a peer, the oldest overwritten: answers overtake
// each other.
type nonces struct {
	list    [3 * bubbleTries]bubbleNonce
	slot    int
	guesses int
	misses  int
}

// draw makes a new one.
func (s *nonces) draw(now time.Time, rand io.Reader, to netip.AddrPort, says said) ([4]byte, error) {
	n := bubbleNonce{sent: now, to: to, says: says}
	if _, err := io.ReadFull(rand, n.value[:]); err != nil {
		return [4]byte{}, err
	}
	if n.value == [4]byte{} {
		n.value[0] = 1 // zero means none on the wire
	}
	s.list[s.slot] = n
	s.slot = (s.slot + 1) % len(s.list)
	s.guesses, s.misses = 0, 0
	return n.value, nil
}

// straight returns the value of one for direct bubbles to a destination, a new
// one every few seconds.
func (s *nonces) straight(now time.Time, rand io.Reader, to netip.AddrPort) ([4]byte, error) {
	for i := range s.list {
		if n := &s.list[i]; n.to == to && now.Sub(n.sent) < bubbleNonceLife/2 && n.spent == [2]bool{} {
			return n.value, nil
		}
	}
	return s.draw(now, rand, to, said{})
}

// find returns the outstanding nonce of that value, or nil.
func (s *nonces) find(now time.Time, value [4]byte) *bubbleNonce {
	for i := range s.list {
		if n := &s.list[i]; !n.sent.IsZero() && n.value == value && now.Sub(n.sent) <= bubbleNonceLife {
			return n
		}
	}
	return nil
}

// latest returns the value of the last one that went through the peer's server,
// zero if there is none.
func (s *nonces) latest() [4]byte {
	var last bubbleNonce
	for _, n := range s.list {
		if !n.to.IsValid() && n.sent.After(last.sent) {
			last = n
		}
	}
	return last.value
}

// proves reports whether value, come back from ip, shows that packets to ip
// arrive: it went straight there, or the way through the server is vouched for.
func (s *nonces) proves(now time.Time, value [4]byte, ip netip.Addr, vouched bool) bool {
	n := s.find(now, value)
	if n == nil {
		s.misses++
		return false
	}
	return s.misses < proofGuesses && (n.to.Addr() == ip || vouched && !n.to.IsValid())
}

// accept reports whether value, returned to a port of that kind, is
// outstanding, and uses it up. Wrong ones count.
func (s *nonces) accept(now time.Time, value [4]byte, extra bool) bool {
	kind := 0
	if extra {
		kind = 1
	}
	n := s.find(now, value)
	if n == nil {
		if s.guesses++; s.guesses >= bubbleGuesses {
			*s = nonces{}
		}
		return false
	}
	if n.spent[kind] {
		return false
	}
	for i := range s.list {
		s.list[i].spent[kind] = true
	}
	return true
}

// returned reports whether the packet is p's answer to a link-local bubble that
// we sent it lately. A client that knows no nonce trailers, such as Miredo,
// answers a bubble with its addresses swapped, so an address that only we can
// make takes the nonce's place.
func (c *Client) returned(now time.Time, p *peer, packet wire.Packet) bool {
	dst := packet.Destination()
	return p != nil && p.x != nil && p.x.tokens && dst.IsLinkLocalUnicast() && c.token.valid(now, p.key, dst)
}

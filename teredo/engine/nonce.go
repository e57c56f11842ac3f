package engine

import (
	"io"
	"time"

	"shipworm/teredo/wire"
)

// Limits on the nonces of indirect bubbles: a guess has 32 bits to hit.
const (
	bubbleNonceLife = 10 * time.Second
	bubbleGuesses   = 3 // wrong ones, then all nonces of the peer are void
)

// bubbleNonce is a nonce that an indirect bubble of ours carried (Nonce Sent,
// RFC 6081, 5.2.1). A direct bubble that returns it comes from the peer,
// whatever its source. It serves once for each kind of port: the service port
// and the extra ones are two ways that a peer may try at once.
type bubbleNonce struct {
	value [4]byte
	sent  time.Time // zero: unused
	says  said      // the bubble
	spent [2]bool   // at the service port, at an extra port
}

// nonces are those of the last indirect bubbles to a peer, the oldest
// overwritten: answers overtake each other.
type nonces struct {
	list    [bubbleTries]bubbleNonce
	slot    int
	guesses int
}

// draw makes a new one.
func (s *nonces) draw(now time.Time, rand io.Reader, says said) ([4]byte, error) {
	n := bubbleNonce{sent: now, says: says}
	for n.value == [4]byte{} { // zero means none on the wire
		if _, err := io.ReadFull(rand, n.value[:]); err != nil {
			return n.value, err
		}
	}
	s.list[s.slot] = n
	s.slot = (s.slot + 1) % len(s.list)
	s.guesses = 0
	return n.value, nil
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

// latest returns the value of the last one, zero if there is none.
func (s *nonces) latest() [4]byte {
	return s.list[(s.slot+len(s.list)-1)%len(s.list)].value
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

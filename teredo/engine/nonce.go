package engine

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"net/netip"
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
func (s *nonces) draw(now time.Time, rand io.Reader) ([4]byte, error) {
	n := bubbleNonce{sent: now}
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

// latest reports whether value is that of the last indirect bubble.
func (s *nonces) latest(value [4]byte) bool {
	n := &s.list[(s.slot+len(s.list)-1)%len(s.list)]
	return !n.sent.IsZero() && n.value == value
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

// Link-local bubbles. A client that knows no nonce trailers, such as Miredo,
// answers a bubble with its addresses swapped. So an address that only we can
// make takes the nonce's place.
const (
	tokenEpoch   = 15 * time.Second
	tokenEpochs  = 2 // that are accepted: a token lives 15 s to 30 s
	bubbleReason = "bubble source"
)

// bubbleSource returns the link-local address that is our source towards peer
// in an epoch of the client's life.
func (c *Client) bubbleSource(peer netip.Addr, epoch int64) netip.Addr {
	mac := hmac.New(sha256.New, c.ping.bubbleKey[:])
	o, p := c.own.As16(), peer.As16()
	mac.Write([]byte(bubbleReason))
	mac.Write(o[:])
	mac.Write(p[:])
	var e [8]byte
	binary.BigEndian.PutUint64(e[:], uint64(epoch))
	mac.Write(e[:])
	var sum [sha256.Size]byte
	ip := [16]byte{0xfe, 0x80}
	copy(ip[8:], mac.Sum(sum[:0])[:8])
	ip[8] &^= 0x03 // neither universal nor group
	return netip.AddrFrom16(ip)
}

func (c *Client) epoch(now time.Time) int64 { return int64(now.Sub(c.origin) / tokenEpoch) }

// returned reports whether the packet is p's answer to a link-local bubble that
// we sent it lately.
func (c *Client) returned(now time.Time, p *peer, packet wire.Packet) bool {
	dst := packet.Destination()
	if p == nil || p.x == nil || !p.x.tokens || !dst.IsLinkLocalUnicast() {
		return false
	}
	for i := range int64(tokenEpochs) {
		if want := c.bubbleSource(p.ip(), c.epoch(now)-i); dst == want {
			return true
		}
	}
	return false
}

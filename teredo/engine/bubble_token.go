package engine

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
	"net/netip"
	"time"
)

const (
	tokenEpoch  = 15 * time.Second // a token serves in this epoch and the next
	tokenReason = "link-local bubble"
)

// bubbleToken makes the link-local addresses that bubbles of relays come from,
// and those of clients for peers that know no nonces. Each is a keyed hash over
// the peer's address and the time, so that no state is kept for it and none
// serves another peer, or later. The key lives as long as the machine.
type bubbleToken struct {
	mac    hash.Hash
	origin time.Time // of the first bubble
}

func (t *bubbleToken) init(rand io.Reader) error {
	var key [32]byte
	if _, err := io.ReadFull(rand, key[:]); err != nil {
		return err
	}
	t.mac = hmac.New(sha256.New, key[:])
	return nil
}

// epoch counts from 1: the zero epoch is that before the first bubble.
func (t *bubbleToken) epoch(now time.Time) uint64 {
	if t.origin.IsZero() {
		t.origin = now
	}
	return uint64(max(0, now.Sub(t.origin))/tokenEpoch) + 1
}

// source returns the address that a bubble to peer comes from in an epoch.
func (t *bubbleToken) source(peer [16]byte, epoch uint64) netip.Addr {
	const unique = 0x03 // the bits universal and group of an interface identifier
	var b [16 + 8 + len(tokenReason)]byte
	copy(b[:], peer[:])
	binary.BigEndian.PutUint64(b[16:], epoch)
	copy(b[24:], tokenReason)
	t.mac.Reset()
	t.mac.Write(b[:])
	var sum [sha256.Size]byte
	t.mac.Sum(sum[:0])
	ip := [16]byte{0xfe, 0x80}
	copy(ip[8:], sum[:8])
	ip[8] &^= unique
	return netip.AddrFrom16(ip)
}

// valid reports whether dst, where a bubble from peer went, is the source of
// one that peer got from us within the last epoch or two.
func (t *bubbleToken) valid(now time.Time, peer [16]byte, dst netip.Addr) bool {
	epoch := t.epoch(now)
	a, b, d := t.source(peer, epoch).As16(), t.source(peer, epoch-1).As16(), dst.As16()
	return hmac.Equal(a[:], d[:]) || hmac.Equal(b[:], d[:])
}

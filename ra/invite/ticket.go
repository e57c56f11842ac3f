package invite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// The plaintext of a ticket, version 1, is a fixed sequence padded with zeros
// to a multiple of ticketPad, so that its length says nothing of a name:
//
//	file secret 16 | certificate hash 32 | length 1, user name |
//	count 1 | count x (length 1, kind | 4 or 16, address | port 2)
const (
	ticketPad = 256
	maxTicket = 2048
)

var errTicket = errors.New("malformed ticket")

// appendTicket encodes a validated invitation.
func appendTicket(b []byte, inv *Invitation) []byte {
	b = append(b, inv.FileSecret[:]...)
	b = append(b, inv.CertHash[:]...)
	b = appendString(b, inv.User)
	b = append(b, byte(len(inv.Candidates)))
	for _, c := range inv.Candidates {
		b = appendString(b, c.Kind)
		a := c.Addr.Addr().AsSlice()
		b = append(b, byte(len(a)))
		b = append(b, a...)
		b = binary.BigEndian.AppendUint16(b, c.Addr.Port())
	}
	for len(b)%ticketPad != 0 {
		b = append(b, 0)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(append(b, byte(len(s))), s...)
}

// decodeTicket is the inverse of appendTicket; every invitation has exactly
// one ticket that it accepts.
func decodeTicket(b []byte, inv *Invitation) error {
	if len(b) == 0 || len(b) > maxTicket || len(b)%ticketPad != 0 {
		return fmt.Errorf("%w: %d bytes", errTicket, len(b))
	}
	r := ticketReader{rest: b}
	copy(inv.FileSecret[:], r.take(len(inv.FileSecret)))
	copy(inv.CertHash[:], r.take(len(inv.CertHash)))
	inv.User = string(r.take(r.byte()))
	n := r.byte()
	if n > MaxCandidates {
		return fmt.Errorf("%w: %d candidates", errTicket, n)
	}
	for range n {
		c := Candidate{Kind: string(r.take(r.byte()))}
		size := r.byte()
		if size != 4 && size != 16 {
			return fmt.Errorf("%w: address of %d bytes", errTicket, size)
		}
		addr, _ := netip.AddrFromSlice(r.take(size))
		port := r.take(2)
		if r.failed {
			break
		}
		c.Addr = netip.AddrPortFrom(addr, binary.BigEndian.Uint16(port))
		inv.Candidates = append(inv.Candidates, c)
	}
	if r.failed {
		return fmt.Errorf("%w: truncated", errTicket)
	}
	if len(r.rest) >= ticketPad {
		return fmt.Errorf("%w: superfluous padding", errTicket)
	}
	for _, z := range r.rest {
		if z != 0 {
			return fmt.Errorf("%w: padding is not zero", errTicket)
		}
	}
	return inv.validate()
}

// A ticketReader takes from the front of a buffer and remembers that it ran short.
type ticketReader struct {
	rest   []byte
	failed bool
}

func (r *ticketReader) take(n int) []byte {
	if n > len(r.rest) {
		r.failed, n = true, len(r.rest)
	}
	head := r.rest[:n]
	r.rest = r.rest[n:]
	return head
}

func (r *ticketReader) byte() int {
	b := r.take(1)
	if len(b) == 0 {
		return 0
	}
	return int(b[0])
}

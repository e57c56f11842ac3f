// Package wire holds the codecs of Teredo: addresses, the encapsulation
// headers, router solicitations and advertisements, bubbles, echo messages
// and trailers. Bytes in, values out, and back; no clock, no I/O, no state.
//
// It follows RFC 4380 (addresses, authentication, origin indication,
// bubbles), RFC 5991 (random flags) and RFC 6081 (trailers), with the parts of
// RFC 4861 and RFC 4443 that they use. Parsing is strict and allocates
// nothing: what [Parse] returns aliases the datagram. It decides nothing that
// needs state: whether a nonce is the right one, or an address may be trusted,
// is the business of package engine. Left out on purpose: the computation and
// verification of secure qualification's authentication value; the codec only
// carries its bytes.
//
//	var d wire.Datagram
//	if err := wire.Parse(payload, &d); err != nil {
//		return err // errors.Is(err, wire.ErrShort) and so on
//	}
//	if d.IPv6.IsBubble() && d.Origin.IsValid() {
//		src, dst := d.IPv6.Destination(), d.IPv6.Source()
//		answer := wire.AppendBubble(nil, src, dst, wire.BubbleHopLimit)
//		send(d.Origin, answer)
//	}
package wire

import (
	"errors"
	"fmt"
	"net/netip"
)

// Port is the UDP port of every Teredo server (RFC 4380, 2.7).
const Port = 3544

// MTU is the size of the largest IPv6 packet on a Teredo link, in bytes
// (RFC 4380, 5.1.2).
const MTU = 1280

// MaxPacket is the largest encapsulated packet, trailers included, that Parse
// accepts, in bytes. A peer may announce a larger link than ours, yet nothing
// beyond an Ethernet frame can be honest.
const MaxPacket = 1500

// BubbleHopLimit is the hop limit of bubbles that we make. RFC 4380 names none;
// 64 survives a server that routes by the book.
const BubbleHopLimit = 64

// AllNodes is the group of all IPv6 nodes of a link, ff02::1 (RFC 4291, 2.7.1).
func AllNodes() netip.Addr { return netip.IPv6LinkLocalAllNodes() }

// AllRouters is the destination of router solicitations, ff02::2
// (RFC 4291, 2.7.1).
func AllRouters() netip.Addr { return netip.IPv6LinkLocalAllRouters() }

// Reasons why bytes are not what they should be. A [ParseError] wraps one of
// them and adds where it happened.
var (
	ErrShort      = errors.New("too short")
	ErrLong       = errors.New("too long")
	ErrHeader     = errors.New("unknown encapsulation header")
	ErrOrder      = errors.New("encapsulation header repeated or out of order")
	ErrVersion    = errors.New("not IPv6")
	ErrLength     = errors.New("length field disagrees with the datagram")
	ErrProtocol   = errors.New("unexpected next header")
	ErrRouting    = errors.New("routing header")
	ErrExtension  = errors.New("malformed extension header chain")
	ErrJumbo      = errors.New("jumbo payload")
	ErrFragment   = errors.New("first fragment without its upper header")
	ErrChecksum   = errors.New("wrong checksum")
	ErrHopLimit   = errors.New("hop limit not 255")
	ErrType       = errors.New("unexpected ICMPv6 type or code")
	ErrAddress    = errors.New("unsuitable address")
	ErrOption     = errors.New("malformed or unsuitable option")
	ErrTrailer    = errors.New("unknown trailer that asks to be discarded")
	ErrNotTeredo  = errors.New("not a Teredo address")
	ErrUnencoding = errors.New("value does not fit its field")
)

// ParseError says what was being read, where, and why it failed. It is a value
// of a few words, so that a flood of bad packets allocates nothing.
type ParseError struct {
	What   What  // the part that was being read
	Offset int   // in bytes from the start of that part's input
	Err    error // one of the Err variables
}

func (e *ParseError) Error() string {
	return fmt.Sprintf("%s at byte %d: %v", e.What, e.Offset, e.Err)
}

func (e *ParseError) Unwrap() error { return e.Err }

// What names a part of a datagram in a [ParseError].
type What string

// The parts.
const (
	WhatDatagram  What = "datagram"
	WhatAuth      What = "authentication header"
	WhatOrigin    What = "origin indication"
	WhatIPv6      What = "IPv6 packet"
	WhatSolicit   What = "router solicitation"
	WhatAdvertise What = "router advertisement"
	WhatEcho      What = "echo message"
	WhatTrailer   What = "trailer"
)

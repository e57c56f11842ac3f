package wire

import (
	"encoding/binary"
	"net/netip"
)

// Datagram is the parsed payload of a UDP datagram:
//
//	[authentication] [origin indication] IPv6 packet [trailers]
//
// Its slices alias the datagram. It is meant to be reused: Parse sets every
// field.
type Datagram struct {
	HasAuth  bool
	Auth     Auth           // meaningful if HasAuth
	Origin   netip.AddrPort // invalid if the datagram has no origin indication
	IPv6     Packet         // exactly 40 + payload length bytes
	Trailers []byte         // what follows the IPv6 packet, not yet looked at
}

// Auth is the authentication header (RFC 4380, 5.1.1). With ID and Value
// empty it only carries a nonce.
type Auth struct {
	ID           []byte  // client identifier, at most 255 bytes
	Value        []byte  // authentication value, at most 255 bytes
	Nonce        [8]byte // chosen by the client, returned by the server
	Confirmation byte    // 0: the client's key is still good
}

// OriginSize is the length of an origin indication in bytes.
const OriginSize = 8

// NonceSize is the length in bytes of an authentication header that carries
// only a nonce.
const NonceSize = 13

// Parse reads the payload b of a UDP datagram into d. It accepts the four
// orders of headers that RFC 4380, 5.1.1 allows and nothing else, a payload
// length that fits the datagram (RFC 6081, 4), and an extension header chain
// that [Packet.Upper] accepts. It never allocates, and its errors wrap the Err
// variables of this package. After an error d is unspecified.
func Parse(b []byte, d *Datagram) error {
	d.HasAuth, d.Origin, d.Trailers = false, netip.AddrPort{}, nil
	rest := b
	if len(rest) >= 2 && rest[0] == 0 && rest[1] == 1 {
		n, err := parseAuth(rest, &d.Auth)
		if err != nil {
			return err
		}
		d.HasAuth = true
		rest = rest[n:]
	}
	if len(rest) >= 2 && rest[0] == 0 && rest[1] == 0 {
		if len(rest) < OriginSize {
			return errOriginShort
		}
		d.Origin = mapped(rest[:8])
		rest = rest[OriginSize:]
	}
	if len(rest) >= 2 && rest[0] == 0 && rest[1] <= 1 {
		return errOrder
	}
	switch {
	case len(rest) == 0:
		return errDatagramShort
	case rest[0]>>4 != 6:
		if len(rest) == len(b) {
			return errHeader
		}
		return errVersion
	case len(rest) < HeaderSize:
		return errPacketShort
	case len(rest) > MaxPacket:
		return errDatagramLong
	}
	end := HeaderSize + int(binary.BigEndian.Uint16(rest[4:6]))
	if end > len(rest) {
		return errPacketLength
	}
	d.IPv6 = Packet(rest[:end:end])
	if end < len(rest) {
		d.Trailers = rest[end:]
	}
	_, _, err := d.IPv6.Upper()
	return err
}

func parseAuth(b []byte, a *Auth) (int, error) {
	if len(b) < 4 {
		return 0, errAuthShort
	}
	id, value := int(b[2]), int(b[3])
	n := NonceSize + id + value
	if len(b) < n {
		return 0, errAuthShort
	}
	a.ID = b[4 : 4+id : 4+id]
	a.Value = b[4+id : 4+id+value : 4+id+value]
	a.Nonce = [8]byte(b[4+id+value:])
	a.Confirmation = b[n-1]
	return n, nil
}

// AppendAuth appends the authentication header a to b. It fails with
// [ErrUnencoding] if ID or Value has more than 255 bytes; b is then returned
// unchanged.
func AppendAuth(b []byte, a *Auth) ([]byte, error) {
	if len(a.ID) > 255 || len(a.Value) > 255 {
		return b, ErrUnencoding
	}
	b = append(b, 0, 1, byte(len(a.ID)), byte(len(a.Value)))
	b = append(b, a.ID...)
	b = append(b, a.Value...)
	b = append(b, a.Nonce[:]...)
	return append(b, a.Confirmation), nil
}

// AppendNonce appends an authentication header that carries only a nonce, the
// first level of protection of RFC 4380, 5.2.2.
func AppendNonce(b []byte, nonce [8]byte) []byte {
	b = append(b, 0, 1, 0, 0)
	b = append(b, nonce[:]...)
	return append(b, 0)
}

// AppendOrigin appends an origin indication for an IPv4 address and port
// (RFC 4380, 5.1.1). Anything but IPv4 appends nothing.
func AppendOrigin(b []byte, origin netip.AddrPort) []byte {
	host := origin.Addr().Unmap()
	if !host.Is4() {
		return b
	}
	var h [8]byte
	putMapped(h[:], 0, netip.AddrPortFrom(host, origin.Port()))
	return append(b, h[:]...)
}

// The errors of the hot path, made once: a flood of bad datagrams must not
// become a flood of garbage.
var (
	errDatagramShort = &ParseError{WhatDatagram, 0, ErrShort}
	errDatagramLong  = &ParseError{WhatDatagram, MaxPacket, ErrLong}
	errHeader        = &ParseError{WhatDatagram, 0, ErrHeader}
	errOrder         = &ParseError{WhatDatagram, 0, ErrOrder}
	errAuthShort     = &ParseError{WhatAuth, 2, ErrShort}
	errOriginShort   = &ParseError{WhatOrigin, 2, ErrShort}
	errPacketShort   = &ParseError{WhatIPv6, 0, ErrShort}
	errPacketLength  = &ParseError{WhatIPv6, 4, ErrLength}
	errVersion       = &ParseError{WhatIPv6, 0, ErrVersion}
	errRouting       = &ParseError{WhatIPv6, HeaderSize, ErrRouting}
	errExtension     = &ParseError{WhatIPv6, HeaderSize, ErrExtension}
	errJumbo         = &ParseError{WhatIPv6, HeaderSize, ErrJumbo}
	errFragment      = &ParseError{WhatIPv6, HeaderSize, ErrFragment}
)

package wire

import (
	"encoding/binary"
	"net/netip"
)

// ICMPv6 types that Teredo handles (RFC 4443, 4; RFC 4861, 4).
const (
	TypeEchoRequest   = 128
	TypeEchoReply     = 129
	TypeSolicitation  = 133
	TypeAdvertisement = 134
)

// ChecksumICMPv6 returns the ICMPv6 checksum of message, whose own checksum
// field it takes as it stands: over a message with a right checksum the result
// is 0, over one with the field zeroed it is the value to fill in
// (RFC 4443, 2.3).
func ChecksumICMPv6(src, dst netip.Addr, message []byte) uint16 {
	s, d := src.As16(), dst.As16()
	sum := uint64(len(message)) + ProtoICMPv6
	sum = addWords(sum, s[:])
	sum = addWords(sum, d[:])
	sum = addWords(sum, message)
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// addWords adds two words at a time: the carry from one to the next is what
// folding adds, too.
func addWords(sum uint64, b []byte) uint64 {
	for len(b) >= 4 {
		sum += uint64(binary.BigEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		sum += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	return sum
}

// fillChecksum writes the checksum of the ICMPv6 message at b[start:].
func fillChecksum(b []byte, start int, src, dst netip.Addr) {
	sum := ChecksumICMPv6(src, dst, b[start:])
	binary.BigEndian.PutUint16(b[start+2:], sum)
}

// AppendProhibited appends an ICMPv6 error that tells dst, with hop limit 255,
// that a packet of its was refused, "communication with destination
// administratively prohibited", and quotes it (RFC 4443, 3.1). Both addresses
// must be valid and quoted no longer than fits into a packet.
func AppendProhibited(b []byte, src, dst netip.Addr, quoted []byte) []byte {
	const unreachable, prohibited = 1, 1
	b = appendHeader(b, 8+len(quoted), ProtoICMPv6, 255, src, dst)
	start := len(b)
	b = append(b, unreachable, prohibited, 0, 0, 0, 0, 0, 0)
	b = append(b, quoted...)
	fillChecksum(b, start, src, dst)
	return b
}

// Echo is an ICMPv6 echo request or reply (RFC 4443, 4.1, 4.2).
type Echo struct {
	Reply    bool
	Src, Dst netip.Addr
	HopLimit byte
	ID, Seq  uint16
	Data     []byte // aliases the packet after ParseEcho
}

// AppendEcho appends the IPv6 packet of an echo message with its checksum.
// Both addresses must be valid. It fails with [ErrUnencoding] if Data is too
// long for a packet; b is then returned unchanged.
func AppendEcho(b []byte, e *Echo) ([]byte, error) {
	if len(e.Data) > 0xffff-8 {
		return b, ErrUnencoding
	}
	typ := byte(TypeEchoRequest)
	if e.Reply {
		typ = TypeEchoReply
	}
	b = appendHeader(b, 8+len(e.Data), ProtoICMPv6, e.HopLimit, e.Src, e.Dst)
	start := len(b)
	b = append(b, typ, 0, 0, 0, byte(e.ID>>8), byte(e.ID), byte(e.Seq>>8), byte(e.Seq))
	b = append(b, e.Data...)
	fillChecksum(b, start, e.Src, e.Dst)
	return b, nil
}

// ParseEcho reads an echo message that follows the fixed header directly.
// Code and checksum must be right.
func ParseEcho(p Packet) (Echo, error) {
	fail := func(offset int, err error) (Echo, error) {
		return Echo{}, &ParseError{WhatEcho, offset, err}
	}
	if p.NextHeader() != ProtoICMPv6 {
		return fail(6, ErrProtocol)
	}
	m := p.Payload()
	switch {
	case len(m) < 8:
		return fail(HeaderSize, ErrShort)
	case m[0] != TypeEchoRequest && m[0] != TypeEchoReply, m[1] != 0:
		return fail(HeaderSize, ErrType)
	}
	e := Echo{
		Reply: m[0] == TypeEchoReply, Src: p.Source(), Dst: p.Destination(), HopLimit: p.HopLimit(),
		ID: binary.BigEndian.Uint16(m[4:]), Seq: binary.BigEndian.Uint16(m[6:]), Data: m[8:],
	}
	if ChecksumICMPv6(e.Src, e.Dst, m) != 0 {
		return fail(HeaderSize+2, ErrChecksum)
	}
	return e, nil
}

package wire

import (
	"encoding/binary"
	"net/netip"
)

// Options of router advertisements (RFC 4861, 4.6).
const (
	optionPrefix = 3
	optionMTU    = 5
)

// AppendSolicitation appends the IPv6 packet of a router solicitation from the
// link-local address src to ff02::2 (RFC 4861, 4.1; RFC 4380, 5.2.1): 48 bytes.
func AppendSolicitation(b []byte, src netip.Addr) []byte {
	b = appendHeader(b, 8, ProtoICMPv6, 255, src, AllRouters())
	start := len(b)
	b = append(b, TypeSolicitation, 0, 0, 0, 0, 0, 0, 0)
	fillChecksum(b, start, src, AllRouters())
	return b
}

// CheckSolicitation checks p against RFC 4861, 6.1.1: hop limit 255, code 0,
// at least 8 bytes, a right checksum, no option of length 0. Addresses are the
// caller's business.
func CheckSolicitation(p Packet) error {
	m, err := checkDiscovery(p, WhatSolicit, TypeSolicitation, 8)
	if err != nil {
		return err
	}
	return eachOption(m[8:], WhatSolicit, HeaderSize+8, func(byte, []byte, int) error { return nil })
}

// Advertisement is what a Teredo client needs of a router advertisement
// (RFC 4380, 5.3.2).
type Advertisement struct {
	Src, Dst netip.Addr
	Server   netip.Addr // bytes 4 to 7 of the advertised 2001::/32 prefix
	MTU      uint32     // 0 if there is no MTU option
}

// MaxMTU is the largest MTU that an advertisement may announce, in bytes: what
// is left of 1,500 after the IPv4 and UDP headers.
const MaxMTU = 1472

// AppendAdvertisement appends the IPv6 packet of a router advertisement with
// one prefix option, infinite lifetimes and, unless a.MTU is 0, an MTU option.
// Src and Dst must be valid and Server IPv4; otherwise nothing is appended.
func AppendAdvertisement(b []byte, a *Advertisement) []byte {
	const prefixSize, mtuSize, retransmit = 32, 8, 2000 // milliseconds, as servers send
	server := a.Server.Unmap()
	if !server.Is4() || !a.Src.IsValid() || !a.Dst.IsValid() {
		return b
	}
	size := 16 + prefixSize
	if a.MTU != 0 {
		size += mtuSize
	}
	b = appendHeader(b, size, ProtoICMPv6, 255, a.Src, a.Dst)
	start := len(b)
	b = append(b, TypeAdvertisement, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, retransmit)
	const autonomous = 0x40
	b = append(b, optionPrefix, prefixSize/8, 64, autonomous)
	b = append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0)
	v4 := server.As4()
	b = append(b, 0x20, 0x01, 0, 0)
	b = append(b, v4[:]...)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	if a.MTU != 0 {
		b = append(b, optionMTU, mtuSize/8, 0, 0)
		b = binary.BigEndian.AppendUint32(b, a.MTU)
	}
	fillChecksum(b, start, a.Src, a.Dst)
	return b
}

// ParseAdvertisement reads a router advertisement and demands what RFC 4861,
// 6.1.2 and RFC 4380, 5.2.1 demand of it: link-local source, hop limit 255,
// code 0, right checksum, exactly one prefix option, of 64 bits and inside
// 2001::/32, and an MTU option, if any, of 1280 to [MaxMTU] bytes.
func ParseAdvertisement(p Packet) (Advertisement, error) {
	m, err := checkDiscovery(p, WhatAdvertise, TypeAdvertisement, 16)
	if err != nil {
		return Advertisement{}, err
	}
	a := Advertisement{Src: p.Source(), Dst: p.Destination()}
	if !a.Src.IsLinkLocalUnicast() {
		return a, &ParseError{WhatAdvertise, 8, ErrAddress}
	}
	prefixes := 0
	err = eachOption(m[16:], WhatAdvertise, HeaderSize+16, func(kind byte, o []byte, offset int) error {
		bad := &ParseError{WhatAdvertise, offset, ErrOption}
		switch kind {
		case optionPrefix:
			prefixes++
			if prefixes > 1 || len(o) != 32 || o[2] != 64 {
				return bad
			}
			if binary.BigEndian.Uint32(o[16:]) != 0x20010000 {
				return bad
			}
			a.Server = netip.AddrFrom4([4]byte(o[20:24]))
		case optionMTU:
			if len(o) != 8 {
				return bad
			}
			a.MTU = binary.BigEndian.Uint32(o[4:])
			if a.MTU < MTU || a.MTU > MaxMTU {
				return bad
			}
		}
		return nil
	})
	if err == nil && prefixes != 1 {
		err = &ParseError{WhatAdvertise, HeaderSize + 16, ErrOption}
	}
	return a, err
}

// checkDiscovery checks what all Neighbor Discovery messages share and returns
// the ICMPv6 message.
func checkDiscovery(p Packet, what What, typ byte, least int) ([]byte, error) {
	if p.NextHeader() != ProtoICMPv6 {
		return nil, &ParseError{what, 6, ErrProtocol}
	}
	m := p.Payload()
	switch {
	case len(m) < least:
		return nil, &ParseError{what, HeaderSize, ErrShort}
	case m[0] != typ, m[1] != 0:
		return nil, &ParseError{what, HeaderSize, ErrType}
	case p.HopLimit() != 255:
		return nil, &ParseError{what, 7, ErrHopLimit}
	case ChecksumICMPv6(p.Source(), p.Destination(), m) != 0:
		return nil, &ParseError{what, HeaderSize + 2, ErrChecksum}
	}
	return m, nil
}

func eachOption(b []byte, what What, offset int, f func(kind byte, option []byte, offset int) error) error {
	for len(b) > 0 {
		if len(b) < 8 || b[1] == 0 || 8*int(b[1]) > len(b) {
			return &ParseError{what, offset, ErrOption}
		}
		n := 8 * int(b[1])
		if err := f(b[0], b[:n], offset); err != nil {
			return err
		}
		b, offset = b[n:], offset+n
	}
	return nil
}

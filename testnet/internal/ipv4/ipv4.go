// Package ipv4 reads and writes the few IPv4, UDP, TCP and ICMP fields that
// the laboratory's engines touch. (RFC 791, 768, 9293, 792; checksums RFC 1071
// and 1624.)
//
// Packets are plain byte slices. Nothing here allocates but the builders.
// Options are skipped, never interpreted; reassembly is left out.
package ipv4

import (
	"encoding/binary"
	"net/netip"
)

// Protocol numbers (IANA).
const (
	ICMP = 1
	TCP  = 6
	UDP  = 17
)

// HeaderLen is the length of an IPv4 header without options, in bytes.
const HeaderLen = 20

// DefaultTTL is the time to live of packets made by the builders (RFC 1700).
const DefaultTTL = 64

var be = binary.BigEndian

// Check reports whether b begins with a whole IPv4 packet whose header
// checksum is right, and returns that packet without link padding together
// with the length of its header.
func Check(b []byte) (pkt []byte, header int, ok bool) {
	if len(b) < HeaderLen || b[0]>>4 != 4 {
		return nil, 0, false
	}
	header = int(b[0]&15) * 4
	total := int(be.Uint16(b[2:]))
	if header < HeaderLen || total < header || total > len(b) {
		return nil, 0, false
	}
	if Fold(Sum(b[:header], 0)) != 0xffff {
		return nil, 0, false
	}
	return b[:total], header, true
}

// Src returns the source address of an IPv4 packet as a number.
func Src(b []byte) uint32 { return be.Uint32(b[12:]) }

// Dst returns the destination address of an IPv4 packet as a number.
func Dst(b []byte) uint32 { return be.Uint32(b[16:]) }

// Proto returns the protocol number of an IPv4 packet.
func Proto(b []byte) byte { return b[9] }

// TTL returns the time to live of an IPv4 packet.
func TTL(b []byte) byte { return b[8] }

// DontFragment reports the DF flag.
func DontFragment(b []byte) bool { return b[6]&0x40 != 0 }

// Fragment reports whether the packet is one piece of a larger one.
func Fragment(b []byte) bool { return be.Uint16(b[6:])&0x3fff != 0 }

// FragmentOffset returns the offset of the packet's data in the original
// datagram, in bytes.
func FragmentOffset(b []byte) int { return int(be.Uint16(b[6:])&0x1fff) * 8 }

// Number returns an IPv4 address as a number; false for any other address.
func Number(a netip.Addr) (uint32, bool) {
	a = a.Unmap()
	if !a.Is4() {
		return 0, false
	}
	v := a.As4()
	return be.Uint32(v[:]), true
}

// Addr is the inverse of Number.
func Addr(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// SetTTL changes the time to live and mends the header checksum.
func SetTTL(b []byte, ttl byte) {
	var d Delta
	old := be.Uint16(b[8:])
	b[8] = ttl
	d.Replace16(old, be.Uint16(b[8:]))
	be.PutUint16(b[10:], d.Apply(be.Uint16(b[10:])))
}

// SetID changes the identification and mends the header checksum.
func SetID(b []byte, id uint16) {
	var d Delta
	d.Replace16(be.Uint16(b[4:]), id)
	be.PutUint16(b[4:], id)
	be.PutUint16(b[10:], d.Apply(be.Uint16(b[10:])))
}

// DecrementTTL takes one from the time to live and mends the header checksum.
// The caller has checked that the TTL is above one.
func DecrementTTL(b []byte) {
	var d Delta
	old := be.Uint16(b[8:])
	b[8]--
	d.Replace16(old, be.Uint16(b[8:]))
	be.PutUint16(b[10:], d.Apply(be.Uint16(b[10:])))
}

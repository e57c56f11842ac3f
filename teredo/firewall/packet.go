package firewall

import (
	"encoding/binary"

	"shipworm/teredo/wire"
)

// ICMPv6 errors (RFC 4443, 3).
const (
	icmpUnreachable  = 1
	icmpTooBig       = 2
	icmpTimeExceeded = 3
	icmpParameter    = 4
)

const (
	tcpHeaderLen  = 20
	udpHeaderLen  = 8
	icmpHeaderLen = 8 // of the messages that pass
)

// parse finds the upper-layer header of b, complete, behind at most a fragment
// header: whatever else stands before it is only of use to slip past filters.
// Of a fragment other than the first, proto is wire.ProtoFragment.
func parse(b []byte) (p wire.Packet, proto byte, offset int, v Verdict) {
	p, err := wire.CheckPacket(b)
	if err != nil {
		return nil, 0, 0, Malformed
	}
	proto, offset, err = p.Upper()
	if err != nil {
		return nil, 0, 0, Malformed
	}
	switch {
	case proto == wire.ProtoFragment, offset == wire.HeaderSize:
	case p.NextHeader() == wire.ProtoFragment && offset == wire.HeaderSize+8:
	default:
		return nil, 0, 0, Protocol
	}
	least := 0
	switch proto {
	case wire.ProtoTCP:
		least = tcpHeaderLen
	case wire.ProtoUDP:
		least = udpHeaderLen
	case wire.ProtoICMPv6:
		least = icmpHeaderLen
	}
	if len(p)-offset < least {
		return nil, 0, 0, Malformed
	}
	return p, proto, offset, Pass
}

// ports reads the first two fields of TCP and UDP.
func ports(upper []byte) (src, dst uint16) {
	return binary.BigEndian.Uint16(upper), binary.BigEndian.Uint16(upper[2:])
}

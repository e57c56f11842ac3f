package stack

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// The filter at the edge of the host. The driver's own checks (source
// addresses, mappings) come before it; this one holds even if they fail.

// ICMPv6 types that may enter: errors about our own flows, and the echo.
// Everything else, all of Neighbor Discovery and MLD with it, stays outside.
const (
	icmpDestinationUnreachable = 1
	icmpPacketTooBig           = 2
	icmpTimeExceeded           = 3
	icmpParameterProblem       = 4
	icmpEchoRequest            = 128
	icmpEchoReply              = 129
)

const (
	ipv6HeaderLen     = 40
	fragmentHeaderLen = 8
)

const (
	protoTCP      = 6
	protoUDP      = 17
	protoFragment = 44
	protoICMPv6   = 58
)

// inboundAllowed decides whether a packet from the tunnel may reach the
// stack, and counts it if not.
func (s *Stack) inboundAllowed(b []byte) bool {
	r := s.inboundVerdict(b)
	if r == 0 {
		return true
	}
	s.drop.add(r)
	return false
}

func (s *Stack) inboundVerdict(b []byte) Drop {
	if !wellFormed(b) {
		return DropMalformed
	}
	own := s.link.getAddr()
	if !own.IsValid() || netip.AddrFrom16([16]byte(b[24:40])) != own {
		return DropNotOurs
	}
	proto, payload := b[6], b[ipv6HeaderLen:]
	first := true
	if proto == protoFragment {
		if len(payload) < fragmentHeaderLen {
			return DropMalformed
		}
		proto = payload[0]
		first = payload[2] == 0 && payload[3]&0xf8 == 0
		payload = payload[fragmentHeaderLen:]
	}
	switch proto {
	case protoTCP, protoUDP:
		return 0
	case protoICMPv6:
		if !first {
			// Of no use without a first fragment, which shows its type.
			return 0
		}
		if len(payload) < header.ICMPv6MinimumSize {
			return DropMalformed
		}
		return s.icmpVerdict(payload[0])
	default:
		return DropProtocol
	}
}

func (s *Stack) icmpVerdict(typ byte) Drop {
	switch typ {
	case icmpEchoRequest:
		if s.cfg.NoEcho {
			return DropEcho
		}
		return 0
	case icmpEchoReply, icmpDestinationUnreachable, icmpPacketTooBig, icmpTimeExceeded, icmpParameterProblem:
		return 0
	default:
		return DropICMP
	}
}

// outboundAllowed keeps the stack from sending what a default-deny host does
// not say: anything from another address than its own, and any ICMPv6 but the
// echo, so that no error message reveals it.
func (s *Stack) outboundAllowed(b []byte) bool {
	own := s.link.getAddr()
	switch {
	case !wellFormed(b):
		s.drop.add(DropMalformed)
	case !own.IsValid() || netip.AddrFrom16([16]byte(b[8:24])) != own:
		s.drop.add(DropOldSource)
	case b[6] == protoICMPv6 && (len(b) <= ipv6HeaderLen || b[ipv6HeaderLen] != icmpEchoRequest && b[ipv6HeaderLen] != icmpEchoReply):
		s.drop.add(DropOutboundICMP)
	default:
		return true
	}
	return false
}

// wellFormed checks that b is one IPv6 packet, no more and no less.
func wellFormed(b []byte) bool {
	return len(b) >= ipv6HeaderLen && b[0]>>4 == 6 && ipv6HeaderLen+(int(b[4])<<8|int(b[5])) == len(b)
}

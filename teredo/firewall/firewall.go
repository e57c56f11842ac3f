// Package firewall decides which packets pass between a Teredo tunnel and a
// host whose kernel would answer everybody: nothing comes in but what belongs
// to a flow that the host began or goes to a port that was opened on purpose
// (RFC 6169, 4.3.3, and the simple security of RFC 6092).
//
// It is a pure machine: it is handed packets and the time, and answers with a
// verdict. Flows of TCP, UDP and the ICMPv6 echo are tracked by their
// endpoints; an ICMPv6 error passes if it quotes a packet of such a flow.
// Neighbor Discovery, Multicast Listener Discovery and every other ICMPv6
// message pass in neither direction, whatever their hop limit says.
//
// Only the host's own packets make flows, so no stranger can fill the table,
// and packets from an open port make none. Left out: TCP's sequence numbers
// (whoever can guess the ports of a flow can send into it, as on the open
// Internet), and reassembly: a fragment without ports passes, because without
// the first one, which is judged, it is of no use.
//
//	f := firewall.New(firewall.Config{})
//	f.SetAddr(addr)
//	if v := f.Outbound(now, packet); v != firewall.Pass { ... }
//	if v := f.Inbound(now, packet); v != firewall.Pass { ... }
package firewall

import (
	"encoding/binary"
	"net/netip"
	"time"

	"shipworm/teredo/wire"
)

// DefaultFlows is how many flows are remembered.
const DefaultFlows = 8192

// How long a flow lives without a packet.
const (
	udpLife     = 5 * time.Minute             // RFC 4787, REQ-5
	tcpLife     = 2*time.Hour + 4*time.Minute // RFC 5382, REQ-5: established
	tcpTransit  = 4 * time.Minute             // the same: opening or closing
	echoLife    = 60 * time.Second            // RFC 5508, REQ-2
	errorQuoted = 8 + wire.HeaderSize + 4     // ICMPv6 header, quoted header, ports
)

// Config is the configuration of a Filter; its zero value is the default.
type Config struct {
	// Flows bounds the table; the one used longest ago makes room. 0 means
	// DefaultFlows.
	Flows int

	// NoEcho keeps out ICMPv6 echo requests, too.
	NoEcho bool
}

// Port is an opened port.
type Port struct {
	Proto  byte // 6 for TCP or 17 for UDP
	Number uint16
}

// Filter is the state of one host. Its methods must not be called
// concurrently.
type Filter struct {
	addr   [16]byte
	has    bool
	noEcho bool
	open   map[Port]bool
	flows  flowTable
}

// New returns a Filter without an address, which lets nothing pass.
func New(c Config) *Filter {
	if c.Flows <= 0 {
		c.Flows = DefaultFlows
	}
	return &Filter{noEcho: c.NoEcho, open: map[Port]bool{}, flows: newFlowTable(c.Flows)}
}

// SetAddr replaces the host's address and forgets every flow; the zero Addr
// takes it away.
func (f *Filter) SetAddr(addr netip.Addr) {
	if addr.IsValid() && addr.As16() == f.addr && f.has {
		return
	}
	f.has = addr.Is6()
	f.addr = [16]byte{}
	if f.has {
		f.addr = addr.As16()
	}
	f.flows = newFlowTable(f.flows.max)
}

// Open lets everybody reach a port, Close nobody new nor old.
func (f *Filter) Open(p Port) { f.open[p] = true }

// Close undoes Open. Flows through the port end.
func (f *Filter) Close(p Port) { delete(f.open, p) }

// Outbound judges a packet that the host sends, and remembers its flow.
func (f *Filter) Outbound(now time.Time, b []byte) Verdict {
	p, proto, offset, v := parse(b)
	switch {
	case v != Pass:
		return v
	case p[24] == 0xff:
		return Multicast // the kernel's MLD reports, mostly
	case !f.has || [16]byte(p[8:24]) != f.addr:
		return Spoofed
	case proto == wire.ProtoFragment:
		return Pass
	}
	upper := p[offset:]
	k := flowKey{proto: proto, remote: [16]byte(p[24:40])}
	switch proto {
	case wire.ProtoTCP, wire.ProtoUDP:
		k.local, k.port = ports(upper)
		if f.open[Port{proto, k.local}] {
			return Pass
		}
	case wire.ProtoICMPv6:
		switch upper[0] {
		case wire.TypeEchoReply:
			return Pass
		case wire.TypeEchoRequest:
			k.local = binary.BigEndian.Uint16(upper[4:])
		default:
			return ICMPType
		}
	default:
		return Protocol
	}
	f.flows.sent(now, k, upper)
	return Pass
}

// Inbound judges a packet from the tunnel.
func (f *Filter) Inbound(now time.Time, b []byte) Verdict {
	p, proto, offset, v := parse(b)
	switch {
	case v != Pass:
		return v
	case !f.has || [16]byte(p[24:40]) != f.addr:
		return NotOurs
	case proto == wire.ProtoFragment:
		return Pass
	}
	upper := p[offset:]
	k := flowKey{proto: proto, remote: [16]byte(p[8:24])}
	switch proto {
	case wire.ProtoTCP, wire.ProtoUDP:
		k.port, k.local = ports(upper)
		if f.open[Port{proto, k.local}] {
			return Pass
		}
	case wire.ProtoICMPv6:
		switch upper[0] {
		case wire.TypeEchoRequest:
			if f.noEcho {
				return EchoOff
			}
			return Pass
		case wire.TypeEchoReply:
			k.local = binary.BigEndian.Uint16(upper[4:])
		case icmpUnreachable, icmpTooBig, icmpTimeExceeded, icmpParameter:
			return f.quoted(now, upper)
		default:
			return ICMPType
		}
	default:
		return Protocol
	}
	if !f.flows.received(now, k, upper) {
		return Unsolicited
	}
	return Pass
}

// Continues reports whether b, at the same instant, fares as before did, which
// passed in the same direction: another packet of the same flow, which neither
// begins nor ends it.
func Continues(before, b []byte) bool {
	return wire.Packet(before).Continues(b) && (b[6] == wire.ProtoTCP && len(b) >= wire.HeaderSize+tcpHeaderLen &&
		b[wire.HeaderSize+13]&(tcpFIN|tcpSYN|tcpRST) == 0 || b[6] == wire.ProtoUDP && len(b) >= wire.HeaderSize+udpHeaderLen)
}

// quoted judges an ICMPv6 error by the packet of ours that it quotes, which
// may be cut off anywhere behind the ports.
func (f *Filter) quoted(now time.Time, icmp []byte) Verdict {
	if len(icmp) < errorQuoted {
		return Malformed
	}
	q := icmp[8:]
	if q[0]>>4 != 6 || [16]byte(q[8:24]) != f.addr {
		return Unsolicited
	}
	k := flowKey{proto: q[6], remote: [16]byte(q[24:40])}
	upper := q[wire.HeaderSize:]
	switch k.proto {
	case wire.ProtoTCP, wire.ProtoUDP:
		k.local, k.port = ports(upper)
		if f.open[Port{k.proto, k.local}] {
			return Pass
		}
	case wire.ProtoICMPv6:
		if len(upper) < 6 || upper[0] != wire.TypeEchoRequest {
			return Unsolicited
		}
		k.local = binary.BigEndian.Uint16(upper[4:])
	default:
		return Unsolicited // an extension header: none of ours has any but the fragment's
	}
	if !f.flows.known(now, k) {
		return Unsolicited
	}
	return Pass
}

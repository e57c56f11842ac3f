package firewall

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/internal/ipv6"
)

const (
	protoTCP      = ipv4.TCP
	protoUDP      = ipv4.UDP
	protoICMP     = ipv6.ICMP
	protoFragment = 44 // as flow.proto: later pieces between two addresses
	protoESP      = 50
	protoAH       = 51

	tcpFIN = ipv4.FIN
	tcpSYN = ipv4.SYN
	tcpRST = ipv4.RST
	tcpACK = ipv4.ACK

	portIKE = 500
)

var be = binary.BigEndian

// packet is what the filter looks at. In flow, src is taken for the inside.
type packet struct {
	flow
	upper ipv6.Upper
	kind  byte // of ICMPv6
	flags byte // of TCP
	body  []byte
}

func (p *packet) turn() { p.inside, p.remote = p.remote, p.inside }

// later reports whether the packet is a piece without the upper header.
func (p *packet) later() bool { return p.upper.Offset > 0 }

// read takes a packet apart; quote permits one that was cut short.
func read(b []byte, quote bool) (p packet, why Reason) {
	pkt, ok := ipv6.Check(b)
	if !ok && quote && len(b) >= ipv6.HeaderLen && b[0]>>4 == 6 {
		pkt, ok = b, true
	}
	if !ok {
		return p, Malformed
	}
	if p.upper, ok = ipv6.Find(pkt); !ok {
		return p, Malformed
	}
	src, dst := ipv6.Src(pkt), ipv6.Dst(pkt)
	if src.IsMulticast() || src.IsUnspecified() || src.Is4In6() || dst.Is4In6() || src.IsLoopback() || dst.IsLoopback() {
		return p, BadAddress
	}
	p.proto, p.body = p.upper.Proto, pkt[p.upper.At:]
	var from, to uint16
	switch {
	case p.later():
		p.proto = protoFragment
	case p.proto == protoUDP && len(p.body) >= 8, p.proto == protoTCP && (len(p.body) >= 20 || quote && len(p.body) >= 8):
		from, to = be.Uint16(p.body), be.Uint16(p.body[2:])
		if p.proto == protoTCP && len(p.body) > 13 {
			p.flags = p.body[13]
		}
	case p.proto == protoICMP && len(p.body) >= 8:
		switch p.kind = p.body[0]; p.kind {
		case ipv6.EchoRequest:
			from = be.Uint16(p.body[4:])
		case ipv6.EchoReply:
			to = be.Uint16(p.body[4:])
		}
	case p.proto == protoUDP, p.proto == protoTCP, p.proto == protoICMP:
		return p, Malformed
	}
	p.inside, p.remote = netip.AddrPortFrom(src, from), netip.AddrPortFrom(dst, to)
	return p, Unspecified
}

// exempt is what is never refused: IPsec and its key exchange (REC-21 to
// REC-24).
func (p *packet) exempt() bool {
	return p.proto == protoESP || p.proto == protoAH || p.proto == protoUDP && p.remote.Port() == portIKE
}

// count returns the reason that it counts.
func (f *Firewall) count(r Reason) Reason {
	if r.Pass() {
		f.stats.Passed++
	} else {
		f.stats.Refused++
	}
	if r == TableFull {
		f.stats.Full++
	}
	return r
}

// Outbound judges a packet from the inside. pkt is not changed or kept.
func (f *Firewall) Outbound(now time.Time, pkt []byte) Reason {
	f.expire(now)
	p, why := read(pkt, false)
	switch {
	case why != Unspecified:
		return f.count(why)
	case p.later(), p.proto == protoICMP && p.kind != ipv6.EchoRequest:
		return f.count(Outgoing) // about, or of, what passed before
	}
	s, why := f.flows[p.flow], Known
	if s == nil {
		if s, why = f.add(p.flow), Begun; s == nil {
			return f.count(TableFull)
		}
	}
	f.keep(s, now, &p, true)
	f.refused = slices.DeleteFunc(f.refused, func(r refusal) bool { return r.flow == p.flow })
	return f.count(why)
}

// Inbound judges a packet from outside. pkt is not changed; of an unsolicited
// SYN a copy is kept for Poll.
func (f *Firewall) Inbound(now time.Time, pkt []byte) Reason {
	f.expire(now)
	p, why := read(pkt, false)
	if why != Unspecified {
		return f.count(why)
	}
	if p.proto == protoICMP && p.kind < 128 {
		// REC-10, REC-18, REC-36; REC-19 and REC-37: it ends nothing.
		q, why := read(p.body[8:], true)
		if why == Unspecified && f.flows[q.flow] != nil && q.inside.Addr() == ipv6.Dst(pkt) {
			return f.count(QuotedFlow)
		}
		return f.count(UnknownQuote)
	}
	exempt := p.exempt()
	p.turn()
	why = f.admit(now, &p, exempt)
	if !why.Pass() {
		f.refuse(now, &p, pkt)
		return f.count(why)
	}
	s := f.flows[p.flow]
	if s == nil && !p.later() {
		if s = f.add(p.flow); s == nil {
			return f.count(TableFull)
		}
	}
	if s != nil {
		f.keep(s, now, &p, false)
	}
	if p.upper.Piece && !p.later() {
		f.expect(now, &p)
	}
	return f.count(why)
}

// admit decides about a packet whose flow has been turned to the inside.
func (f *Firewall) admit(now time.Time, p *packet, exempt bool) Reason {
	if f.flows[p.flow] != nil {
		return Known
	}
	if p.later() {
		return FragmentEarly
	}
	if (p.proto == protoUDP || p.proto == protoTCP) && f.open[f.scope(p.flow)] > 0 {
		return Permitted
	}
	if exempt {
		return Exempt
	}
	if o := f.pinhole(now, p.flow); o != nil {
		o.Packets++
		return Opened
	}
	return Unsolicited
}

// expect lets the later pieces of a packet pass.
func (f *Firewall) expect(now time.Time, p *packet) {
	k := flow{protoFragment, netip.AddrPortFrom(p.inside.Addr(), 0), netip.AddrPortFrom(p.remote.Addr(), 0)}
	s := f.flows[k]
	if s == nil {
		s = f.add(k)
	}
	if s != nil {
		f.keep(s, now, &packet{}, false)
	}
}

// A refusal is a SYN that waits for its report.
type refusal struct {
	flow
	at  time.Time
	pkt []byte
}

func (f *Firewall) refuse(now time.Time, p *packet, pkt []byte) {
	if p.proto != protoTCP || p.flags&(tcpSYN|tcpACK) != tcpSYN || f.cfg.Refusal < 0 || len(f.refused) >= maxRefused ||
		slices.ContainsFunc(f.refused, func(r refusal) bool { return r.flow == p.flow }) {
		return
	}
	f.refused = append(f.refused, refusal{p.flow, now.Add(f.cfg.Refusal), slices.Clone(pkt)})
}

// Next returns when Poll has something; false if never, as things stand.
func (f *Firewall) Next() (time.Time, bool) {
	if len(f.refused) == 0 {
		return time.Time{}, false
	}
	return f.refused[0].at, true
}

// Poll returns an unsolicited SYN whose sender is to be told by now that it is
// administratively prohibited (REC-34), or nil if there is none.
func (f *Firewall) Poll(now time.Time) []byte {
	if len(f.refused) == 0 || now.Before(f.refused[0].at) {
		return nil
	}
	pkt := f.refused[0].pkt
	f.refused = f.refused[1:]
	return pkt
}

package adversary

import (
	"encoding/binary"
	"net/netip"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/sim"
)

// A Message is a UDP datagram in the hands of a MITM, who may change every
// field. The packet is then made anew, with right checksums.
type Message struct {
	Time     time.Time
	Up       bool // from the node towards its network
	From, To netip.AddrPort
	Payload  []byte // may be changed in place, replaced or made longer
	Drop     bool   // swallow it
	Delay    time.Duration
}

// A MITM is a man in the middle of a line. He rewrites UDP datagrams in both
// directions; what is not UDP, or a fragment, passes unseen.
type MITM struct {
	Name string // in traces; "" means "mitm"
	// Rewrite sees each datagram and changes it as it likes.
	Rewrite func(m *Message)

	tap *sim.Tap
	mouth
}

// Attach puts the man on a line.
func (m *MITM) Attach(l Line) { m.tap = l.Tap(or(m.Name, "mitm"), m.passage) }

func or(name, fallback string) string {
	if name == "" {
		return fallback
	}
	return name
}

// datagram reads a whole UDP datagram out of a packet.
func datagram(b []byte) (from, to netip.AddrPort, payload []byte, ok bool) {
	pkt, h, ok := ipv4.Check(b)
	if !ok || ipv4.Proto(pkt) != ipv4.UDP || ipv4.Fragment(pkt) || !ipv4.TransportOK(pkt, h) {
		return from, to, nil, false
	}
	u := pkt[h:]
	from = netip.AddrPortFrom(ipv4.Addr(ipv4.Src(pkt)), binary.BigEndian.Uint16(u))
	to = netip.AddrPortFrom(ipv4.Addr(ipv4.Dst(pkt)), binary.BigEndian.Uint16(u[2:]))
	return from, to, u[8:binary.BigEndian.Uint16(u[4:])], true
}

func (m *MITM) passage(p *sim.Passage) {
	from, to, payload, ok := datagram(p.Packet)
	if !ok {
		return
	}
	m.stats.Seen++
	x := Message{Time: p.Time, Up: p.Up, From: from, To: to, Payload: append([]byte(nil), payload...)}
	m.Rewrite(&x)
	if x.Drop {
		m.stats.Swallowed++
		p.Drop = true
		return
	}
	p.Delay = x.Delay
	if x.From == from && x.To == to && string(x.Payload) == string(payload) {
		return
	}
	if !x.From.Addr().Is4() || !x.To.Addr().Is4() || len(x.Payload) > ipv4.MaxPayload {
		m.stats.Swallowed++
		p.Drop = true
		return
	}
	id, ttl := binary.BigEndian.Uint16(p.Packet[4:]), ipv4.TTL(p.Packet)
	p.Packet = ipv4.AppendUDP(nil, id, x.From, x.To, x.Payload)
	for ipv4.TTL(p.Packet) > ttl { // it keeps its age
		ipv4.DecrementTTL(p.Packet)
	}
	m.stats.Changed++
}

// Inject sends a datagram of the man's own towards the network (up) or the
// node.
func (m *MITM) Inject(up bool, from, to netip.AddrPort, payload []byte) {
	if pkt := m.udp(from, to, payload); pkt != nil {
		m.tap.Inject(pkt, up)
	}
}

// Detach takes the man off the line.
func (m *MITM) Detach() { m.tap.Remove() }

// Stats returns the counters.
func (m *MITM) Stats() Stats { return m.stats }

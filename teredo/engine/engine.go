// Package engine holds the Teredo client, server and relay as pure machines: they
// are handed the time, datagrams and IPv6 packets, and answer with datagrams
// to transmit, packets to deliver and events. They own no goroutine, no
// socket and no log, and never panic on input.
//
// The client follows RFC 4380, 5.2 as changed by RFC 5991 (no cone phase,
// random flags, the cone bit of peers ignored); the server RFC 4380, 5.3; the
// relay RFC 4380, 5.4.
// Both ends of a connection punch: a client that receives a bubble through
// its server answers it and starts its own attempt, so that one lost packet
// does not cost a time-out. NATs that RFC 4380 gives up on are crossed as
// RFC 6081 does, and some that it gives up on by a trailer of our own and by
// trying many ports. docs/rfc-conformance.md has each rule of the three RFCs,
// and what is done otherwise.
//
// A driver calls Receive for each datagram, Send for each outgoing IPv6
// packet and Tick once Next is due, one call at a time, and drains the Output
// after each call:
//
//	c, err := engine.NewClient(engine.ClientConfig{Server: server})
//	...
//	c.Start(time.Now(), &out)
//	for {
//		for _, t := range out.Transmit {
//			conn.WriteToUDPAddrPort(t.Payload, t.To)
//		}
//		out.Reset()
//		n, from, err := readUntil(c.Next(), buf) // or the deadline
//		if err != nil {
//			c.Tick(time.Now(), &out)
//		} else {
//			c.Receive(time.Now(), from, buf[:n], &out)
//		}
//	}
//
// Times must carry a monotonic reading, as time.Now does, so that a step of
// the wall clock expires nothing (in tests any consistent clock will do).
package engine

import (
	"net/netip"
	"time"

	"shipworm/teredo/wire"
)

// Transmit is a UDP datagram to send.
type Transmit struct {
	To      netip.AddrPort
	Payload []byte
	Segment int    // Payload is a run of datagrams of this size, the last perhaps shorter; 0 for one
	Port    uint16 // local port to send from: 0 the service port, else one of Output.Open
	TTL     uint8  // IPv4 time to live; 0 the system's choice
}

// Output collects what a call produced. Its slices grow with each call until
// Reset; they may alias the argument of the call (a data packet is never
// copied) or buffers of the Output, so use them before the argument changes
// and before Reset.
type Output struct {
	Transmit []Transmit
	Deliver  [][]byte // IPv6 packets for the host, in order
	Events   []Event
	// Open and Close are local UDP ports to open before anything is sent, and
	// to close after that. What arrives at them goes to ReceiveOn. A port that
	// cannot be opened may be forgotten: what is sent from it is lost.
	Open, Close []uint16

	buf []byte // backs the datagrams that the machine built itself
}

// Reset empties o and keeps its memory.
func (o *Output) Reset() {
	clear(o.Transmit)
	clear(o.Deliver)
	o.Transmit, o.Deliver, o.Events, o.buf = o.Transmit[:0], o.Deliver[:0], o.Events[:0], o.buf[:0]
	o.Open, o.Close = o.Open[:0], o.Close[:0]
}

// built queues the bytes appended to o.buf since it had length start.
func (o *Output) built(to netip.AddrPort, start int) {
	o.builtFrom(0, to, 0, start)
}

// builtFrom is built for a datagram from another port than the service port, or
// with a time to live of its own.
func (o *Output) builtFrom(port uint16, to netip.AddrPort, ttl uint8, start int) {
	o.Transmit = append(o.Transmit, Transmit{To: to, Payload: o.buf[start:len(o.buf):len(o.buf)], Port: port, TTL: ttl})
}

// EventKind says what happened.
type EventKind uint8

// Kinds of events.
const (
	Qualified         EventKind = iota + 1 // a Teredo address is live; also after a change of the mapping
	AddressLost                            // the address is no longer ours
	ServerUnreachable                      // a whole series of solicitations went unanswered
	PeerUp                                 // packets to and from a peer pass directly (or through its relay)
	PeerFailed                             // a connection attempt was given up, or may not start yet
	PortRefused                            // the NAT shows the service port as one that no peer sends to: another might do
)

func (k EventKind) String() string {
	switch k {
	case Qualified:
		return "qualified"
	case AddressLost:
		return "address lost"
	case ServerUnreachable:
		return "server unreachable"
	case PeerUp:
		return "peer up"
	case PeerFailed:
		return "peer failed"
	case PortRefused:
		return "port refused"
	}
	return "unknown event"
}

// Event is something that the driver or the user may want to know.
type Event struct {
	Kind     EventKind
	Address  wire.Address   // Qualified: the new one; AddressLost: the old one
	Peer     netip.Addr     // PeerUp, PeerFailed: its IPv6 address
	Endpoint netip.AddrPort // PeerUp: where its packets go
	RTT      time.Duration  // Qualified: from the solicitation to its answer
	// RetryAt is when the next attempt will be made (ServerUnreachable) or
	// becomes possible (PeerFailed).
	RetryAt time.Time
}

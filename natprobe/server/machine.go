package server

import (
	"net/netip"
	"time"

	"shipworm/natprobe/message"
)

// Socket names a socket of the server: two bits, of which the first is the
// port (0 = Port, 1 = OtherPort) and the second the address. RFC 5780's "change
// port" and "change IP" toggle them.
type Socket uint8

// Bits of a Socket, and the socket on which two hosts that act as one talk.
const (
	OtherPort    Socket = 1
	OtherAddress Socket = 2
	PeerSocket   Socket = 4
)

// Packet is a datagram to be sent from a socket.
type Packet struct {
	From Socket
	To   netip.AddrPort
	Data []byte
}

// Counters say what became of the datagrams that came.
type Counters struct {
	Answered  uint64 // with a mapped address
	Refused   uint64 // with an error
	Forwarded uint64 // handed to the peer, to be answered there
	Lent      uint64 // answered for the peer
	Limited   uint64 // beyond a rate
	Ignored   uint64 // nothing that asks, or from where nobody can be answered
	Forged    uint64 // on the peer's socket, and not from the peer
}

// Times between two hosts that act as one.
const (
	helloEvery = 2 * time.Second
	peerGone   = 3*helloEvery + helloEvery/2 // after so long without a hello
)

// maxPadding bounds PADDING in answers, in bytes: enough that one becomes two
// fragments on Ethernet. Answers have less than their request, so that padding
// amplifies nothing (RFC 5780, 6.1 wants the link's MTU).
const maxPadding = 2048

// Machine is the server without its sockets. It is not safe for concurrent
// use.
type Machine struct {
	cfg       Config
	addrs     [2]netip.Addr // public; the second one may be invalid or the peer's
	send, got noteKey
	peerSeen  time.Time // when the peer's last hello came
	hello     time.Time // when the next one is due
	endpoints limiter
	addresses limiter
	count     Counters
}

// NewMachine returns a machine, or every problem of the configuration.
func NewMachine(c Config, now time.Time) (*Machine, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	m := &Machine{cfg: c, endpoints: newLimiter(now, c.EndpointRate), addresses: newLimiter(now, c.AddressRate)}
	copy(m.addrs[:], c.Public)
	if p := c.Peer; p != nil {
		m.addrs[1] = p.Public
		ports := [2]uint16{c.Port, c.OtherPort}
		m.send, m.got = noteKey{p.Key, c.Public[0], ports}, noteKey{p.Key, p.Public, ports}
		m.hello = now
	}
	return m, nil
}

// Counters returns the counters so far.
func (m *Machine) Counters() Counters { return m.count }

// PeerAlive reports whether the other host of two answered lately. While it
// does not, the server has one address.
func (m *Machine) PeerAlive(now time.Time) bool {
	return !m.peerSeen.IsZero() && now.Sub(m.peerSeen) < peerGone
}

// Tick returns what is to be sent to the peer at now, and when to call again;
// the zero time is never.
func (m *Machine) Tick(now time.Time) ([]Packet, time.Time) {
	if m.cfg.Peer == nil {
		return nil, time.Time{}
	}
	if now.Before(m.hello) {
		return nil, m.hello
	}
	m.hello = now.Add(helloEvery)
	return []Packet{m.toPeer(note{kind: noteHello, at: now})}, m.hello
}

func (m *Machine) toPeer(n note) Packet {
	return Packet{PeerSocket, m.cfg.Peer.Addr, m.send.seal(n)}
}

// Receive takes a datagram and returns at most one to send. It does not keep
// b.
func (m *Machine) Receive(now time.Time, on Socket, from netip.AddrPort, b []byte) (Packet, bool) {
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if on == PeerSocket {
		return m.fromPeer(now, b)
	}
	req, err := message.Parse(b)
	if err != nil || req.Class != message.Request || !m.answerable(from) {
		m.count.Ignored++
		return Packet{}, false
	}
	if !m.allow(now, from) {
		return Packet{}, false
	}
	two := m.addrs[1].IsValid() && (m.cfg.Peer == nil || m.PeerAlive(now))
	if code, unknown := refuse(&req, two); code != 0 {
		m.count.Refused++
		e := message.Message{Class: message.Error, ID: req.ID, Code: code, Reason: reasons[code], Unknown: unknown}
		return Packet{on, from, e.Append(nil)}, true
	}
	to, padding := from, min(req.Padding, maxPadding)
	if req.ResponsePort != 0 {
		to = netip.AddrPortFrom(from.Addr(), req.ResponsePort)
	}
	out := on
	if req.ChangePort {
		out ^= OtherPort
	}
	if req.ChangeIP {
		if m.cfg.Peer != nil {
			m.count.Forwarded++
			n := note{kind: noteAnswer, at: now, client: from, port: to.Port(), padding: uint16(padding), id: req.ID}
			if on&OtherPort != 0 {
				n.flags |= flagOtherPort
			}
			if req.ChangePort {
				n.flags |= flagChangePort
			}
			return m.toPeer(n), true
		}
		out ^= OtherAddress
	}
	m.count.Answered++
	return m.answer(answer{id: req.ID, client: from, to: to, on: on, out: out, padding: padding, two: two}), true
}

// fromPeer answers in the peer's place. The peer's own socket is what the
// request came to, so that this host's address is the other one.
func (m *Machine) fromPeer(now time.Time, b []byte) (Packet, bool) {
	n, err := m.got.open(now, b)
	if err != nil {
		m.count.Forged++
		return Packet{}, false
	}
	m.peerSeen = now
	if n.kind != noteAnswer || !m.answerable(n.client) {
		return Packet{}, false
	}
	if !m.allow(now, n.client) {
		return Packet{}, false
	}
	on := OtherAddress | Socket(n.flags)&flagOtherPort
	out := on ^ OtherAddress
	if n.flags&flagChangePort != 0 {
		out ^= OtherPort
	}
	m.count.Lent++
	to := netip.AddrPortFrom(n.client.Addr(), n.port)
	return m.answer(answer{id: n.id, client: n.client, to: to, on: on, out: out, padding: min(int(n.padding), maxPadding), two: true}), true
}

// An answer is one to be written: for a request that came from client to the
// socket on, sent from out.
type answer struct {
	id         message.ID
	client, to netip.AddrPort
	on, out    Socket
	padding    int
	two        bool // there is another address to tell
}

func (m *Machine) answer(a answer) Packet {
	r := message.Message{
		Class: message.Success, ID: a.id,
		Mapped: a.client, XORMapped: a.client, Origin: m.public(a.out),
		Padding: a.padding, Old: a.id.Classic(),
	}
	if a.two {
		r.Other = m.public(a.on ^ OtherAddress ^ OtherPort)
	}
	return Packet{a.out, a.to, r.Append(nil)}
}

// public is the endpoint that clients know a socket by.
func (m *Machine) public(s Socket) netip.AddrPort {
	port := m.cfg.Port
	if s&OtherPort != 0 {
		port = m.cfg.OtherPort
	}
	return netip.AddrPortFrom(m.addrs[s>>1&1], port)
}

// reasons of the errors that the server sends (RFC 8489, 14.8).
var reasons = map[int]string{400: "Bad Request", 420: "Unknown Attribute"}

// refuse returns the error code for a request that cannot be answered, or 0,
// and with 420 the attributes that it is about (RFC 5780, 6.1).
func refuse(req *message.Message, two bool) (code int, unknown []uint16) {
	const changeRequest = 0x0003
	if unknown = req.Unknown; (req.ChangeIP || req.ChangePort) && !two {
		unknown = append(unknown, changeRequest)
	}
	switch {
	case len(unknown) > 0:
		return 420, unknown
	case req.ResponsePort != 0 && (req.Padding > 0 || req.ResponsePort < 1024):
		return 400, nil
	}
	return 0, nil
}

// answerable reports whether an answer may go there. The server's own
// addresses may ask: answers are never answered, so that nothing goes round.
func (m *Machine) answerable(ap netip.AddrPort) bool {
	ip := ap.Addr()
	return ap.Port() != 0 && ip.IsValid() && !ip.IsUnspecified() && !ip.IsMulticast() &&
		ip.Is4() == m.addrs[0].Is4() && ip != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// allow counts one answer to a client against its rates.
func (m *Machine) allow(now time.Time, client netip.AddrPort) bool {
	ip := client.Addr()
	if ip.Is6() {
		ip = netip.PrefixFrom(ip, 64).Masked().Addr()
	}
	if m.addresses.take(now, netip.AddrPortFrom(ip, 0)) && m.endpoints.take(now, client) {
		return true
	}
	m.count.Limited++
	return false
}

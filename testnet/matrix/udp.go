package matrix

import (
	"net/netip"
	"slices"
	"time"

	"shipworm/testnet/sim"
)

// Timing of UDP; all ours.
const (
	helloGap   = 200 * time.Millisecond
	requestGap = 500 * time.Millisecond
	maxTargets = 4 // endpoints that one end sends hellos to
)

// rendezvousPort is STUN's (RFC 8489, 18.6): such servers are what a program
// finds in practice.
const rendezvousPort = 3478

// UDP is hole punching by rendezvous (RFC 5128, 3.3). Both ends ask a server
// for the endpoint that it sees them at. When A calls, the server tells each
// end the other's, and both send a hello there every 200 ms. An end that hears
// a hello from an endpoint it was not told of sends there as well, as ICE does
// with peer-reflexive candidates (RFC 8445, 7.3.1.3): without that nobody
// behind a NAT with a mapping for each destination would ever be reached.
// Ports are not guessed, and nothing is relayed.
type UDP struct{}

// Name returns "udp".
func (UDP) Name() string { return "udp" }

// Title returns what it is.
func (UDP) Title() string { return "UDP hole punching by rendezvous" }

// Begin has both ends register.
func (UDP) Begin(s *Stage) (Attempt, error) {
	p := &punch{w: s.World, server: netip.AddrPortFrom(s.Server.Addr(), rendezvousPort)}
	var err error
	if p.desk, err = s.Server.BindUDP(rendezvousPort, p.serve); err != nil {
		return nil, err
	}
	for i, h := range []*sim.Host{s.A, s.B} {
		e := &p.ends[i]
		e.p, e.i = p, byte(i)
		if e.port, err = h.BindUDP(0, e.receive); err != nil {
			return nil, err
		}
		e.register()
	}
	return p, nil
}

// The first byte of a datagram; the second is the number of the end it is
// about, and an endpoint may follow.
const (
	msgRegister = 'r' // end to server
	msgMapped   = 'm' // server to end: where I see you
	msgCall     = 'c' // end to server: introduce us
	msgPeer     = 'p' // server to end: where I see the other one
	msgHello    = 'h' // end to end
)

// punch is an Attempt.
type punch struct {
	w      *sim.World
	server netip.AddrPort
	desk   *sim.UDPPort
	seen   [2]netip.AddrPort // by the server
	ends   [2]punchEnd
}

type punchEnd struct {
	p       *punch
	i       byte
	port    *sim.UDPPort
	mapped  netip.AddrPort   // as the server said
	targets []netip.AddrPort // where hellos go
	heard   bool
}

// State implements Attempt.
func (p *punch) State() State {
	a, b := &p.ends[0], &p.ends[1]
	switch {
	case a.heard && b.heard:
		return Done
	case a.mapped.IsValid() && b.mapped.IsValid():
		return Ready
	}
	return Preparing
}

// Connect implements Attempt.
func (p *punch) Connect() { p.ends[0].call() }

// Describe implements Method.
func (UDP) Describe(b []byte) string {
	if len(b) > 0 {
		switch b[0] {
		case msgRegister:
			return "where am I?"
		case msgMapped:
			return "you are"
		case msgCall:
			return "call"
		case msgPeer:
			return "peer is"
		case msgHello:
			return "hello"
		}
	}
	return "datagram"
}

// serve is the server.
func (p *punch) serve(_ time.Time, from netip.AddrPort, b []byte) {
	if len(b) < 2 || b[1] > 1 {
		return
	}
	switch b[0] {
	case msgRegister:
		p.seen[b[1]] = from
		p.send(p.desk, from, msgMapped, b[1], from)
	case msgCall:
		for i, to := range p.seen {
			p.send(p.desk, to, msgPeer, byte(i), p.seen[1-i])
		}
	}
}

// send sends one message. The network of a stage is IPv4, and no message is
// long, so nothing can go wrong that the other end would not notice.
func (p *punch) send(port *sim.UDPPort, to netip.AddrPort, msg, end byte, about netip.AddrPort) {
	b := []byte{msg, end}
	if about.IsValid() {
		b, _ = about.AppendBinary(b)
	}
	_ = port.SendTo(to, b)
}

// again repeats f after d as long as it is wanted.
func (p *punch) again(d time.Duration, f func()) { p.w.At(p.w.Now().Add(d), f) }

func (e *punchEnd) register() {
	if !e.mapped.IsValid() {
		e.p.send(e.port, e.p.server, msgRegister, e.i, netip.AddrPort{})
		e.p.again(requestGap, e.register)
	}
}

// call goes on until the other end was heard: only that shows that it has
// been told.
func (e *punchEnd) call() {
	if !e.heard {
		e.p.send(e.port, e.p.server, msgCall, e.i, netip.AddrPort{})
		e.p.again(requestGap, e.call)
	}
}

func (e *punchEnd) hello() {
	for _, to := range e.targets {
		e.p.send(e.port, to, msgHello, e.i, netip.AddrPort{})
	}
	e.p.again(helloGap, e.hello)
}

func (e *punchEnd) receive(_ time.Time, from netip.AddrPort, b []byte) {
	if len(b) < 2 {
		return
	}
	switch b[0] {
	case msgMapped, msgPeer:
		var about netip.AddrPort
		if from != e.p.server || b[1] != e.i || about.UnmarshalBinary(b[2:]) != nil {
			return
		}
		if b[0] == msgMapped {
			e.mapped = about
			return
		}
		e.target(about)
	case msgHello:
		e.heard = true
		e.target(from)
	}
}

// target adds an endpoint and sends there at once.
func (e *punchEnd) target(to netip.AddrPort) {
	if len(e.targets) == maxTargets || slices.Contains(e.targets, to) {
		return
	}
	e.targets = append(e.targets, to)
	if len(e.targets) == 1 {
		e.hello()
	} else {
		e.p.send(e.port, to, msgHello, e.i, netip.AddrPort{})
	}
}

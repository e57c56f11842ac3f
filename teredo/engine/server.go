package engine

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"shipworm/teredo/wire"
)

// ServerConfig configures a Server. Only Primary must be set.
type ServerConfig struct {
	// Primary is the IPv4 address that clients put into their addresses.
	Primary netip.Addr
	// Secondary is the second address, or the zero Addr if there is none.
	// Without it, clients that ask for the cone test get no answer, as behind
	// a NAT that is not one.
	Secondary netip.Addr
	// Policy decides where packets may go. Both addresses count as Own.
	Policy Policy
	// MTU is advertised, in bytes, from 1280 to 1472. 0 means 1280, a
	// negative one that the option is left out.
	MTU int
	// Limits bound what is sent. The zero value means the defaults.
	Limits Limits
	// Clients are those who may qualify, if it is not nil: solicitations of all
	// others are dropped (secure qualification, RFC 4380, 5.3.1). Bubbles and
	// echoes pass as ever.
	Clients []Credential
	// Seed hides from strangers where the limiter keeps whom.
	Seed uint64
}

// ServerTransmit is a UDP datagram to send from port 3544 of one of the
// server's addresses.
type ServerTransmit struct {
	From    int // 0 primary, 1 secondary
	To      netip.AddrPort
	Payload []byte
}

// ServerOutput collects what a call produced, under the rules of [Output].
type ServerOutput struct {
	Transmit []ServerTransmit
	// Native are IPv6 packets for the native IPv6 Internet, the clients'
	// connectivity tests. A driver without native IPv6 ignores them.
	Native [][]byte

	buf []byte
}

// Reset empties o and keeps its memory.
func (o *ServerOutput) Reset() {
	clear(o.Transmit)
	clear(o.Native)
	o.Transmit, o.Native, o.buf = o.Transmit[:0], o.Native[:0], o.buf[:0]
}

// Bounds on what a server forwards.
const (
	maxEcho     = 88 // ICMPv6 bytes; beyond this it would be a relay for anything
	maxTrailers = 40 // behind a bubble
)

// ServerState is a snapshot of a Server's counters.
type ServerState struct {
	Primary      netip.Addr `json:"primary"`
	Secondary    netip.Addr `json:"secondary"`
	Received     uint64     `json:"received"`
	Advertised   uint64     `json:"advertised"`
	Forwarded    uint64     `json:"forwarded"` // bubbles and echoes to Teredo addresses
	Native       uint64     `json:"native"`    // echoes to native addresses
	LimitEntries int        `json:"limit_entries"`
	Drops        Drops      `json:"drops"`
}

// Server is a Teredo server. It holds nothing about its clients but the token
// buckets of its rate limits, so that a restart loses nobody. Its methods must
// not be called concurrently; see Twin for several processors.
type Server struct {
	config    ServerConfig
	policy    Policy
	linkLocal netip.Addr
	mtu       uint32
	limits    *limiter // shared with its twins
	keys      *keyring // nil: everybody may qualify
	state     ServerState
	d         wire.Datagram // scratch of Receive
	packet    []byte        // the same, of an advertisement
}

// NewServer checks config, reporting every problem.
func NewServer(config ServerConfig) (*Server, error) {
	config.Primary, config.Secondary = config.Primary.Unmap(), config.Secondary.Unmap()
	policy := config.Policy.compile()
	var errs []error
	if !policy.unicast(config.Primary) {
		errs = append(errs, fmt.Errorf("primary address %v: not a public IPv4 address", config.Primary))
	}
	policy.Own = append(policy.Own, config.Primary)
	if s := config.Secondary; s.IsValid() {
		if !policy.unicast(s) || s == config.Primary {
			errs = append(errs, fmt.Errorf("secondary address %v: not another public IPv4 address", s))
		}
		policy.Own = append(policy.Own, s)
	}
	if config.MTU == 0 {
		config.MTU = wire.MTU
	}
	if config.MTU > 0 && (config.MTU < wire.MTU || config.MTU > wire.MaxMTU) {
		errs = append(errs, fmt.Errorf("MTU %d: not within %d to %d", config.MTU, wire.MTU, wire.MaxMTU))
	}
	if err := config.Limits.check(); err != nil {
		errs = append(errs, err)
	}
	keys, err := newKeyring(config.Clients, rand.Reader)
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	policy = policy.compile() // now that Own is complete
	s := &Server{config: config, policy: policy, keys: keys, linkLocal: wire.ServerLinkLocal(config.Primary)}
	s.mtu = uint32(max(config.MTU, 0))
	s.limits = newLimiter(config.Limits, config.Seed)
	s.state.Primary, s.state.Secondary = config.Primary, config.Secondary
	return s, nil
}

// Twin returns another server with the same configuration and the same limits:
// the two may be used at the same time, each by one goroutine. Each counts for
// itself, but for ServerState.LimitEntries.
func (s *Server) Twin() (*Server, error) {
	keys, err := newKeyring(s.config.Clients, rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &Server{config: s.config, policy: s.policy, keys: keys, linkLocal: s.linkLocal, mtu: s.mtu, limits: s.limits}
	t.state.Primary, t.state.Secondary = s.state.Primary, s.state.Secondary
	return t, nil
}

// Add adds what a twin counted.
func (s *ServerState) Add(t *ServerState) {
	s.Received += t.Received
	s.Advertised += t.Advertised
	s.Forwarded += t.Forwarded
	s.Native += t.Native
	for i := range s.Drops {
		s.Drops[i] += t.Drops[i]
	}
}

// Snapshot returns the counters.
func (s *Server) Snapshot() ServerState {
	state := s.state
	state.LimitEntries = s.limits.len()
	return state
}

func (s *Server) drop(d Drop) { s.state.Drops[d]++ }

// own reports whether ip is an address of this host.
func (s *Server) own(ip netip.Addr) bool {
	for _, o := range s.policy.Own {
		if o == ip {
			return true
		}
	}
	return false
}

// Expect prepares for a datagram that Receive will be given soon: a driver that
// has many calls it for each of them first, so that what the limits must look up
// in memory for all of them comes at the same time. It changes nothing, and
// without it Receive does the same, later.
func (s *Server) Expect(from netip.AddrPort, payload []byte) {
	if !from.Addr().Is4() {
		return
	}
	s.limits.fetch(from)
	// What most often has another target than its source is a bubble, without
	// headers before it: the target ends its destination, inverted.
	if len(payload) >= wire.HeaderSize && payload[0]>>4 == 6 {
		d := payload[wire.HeaderSize-4 : wire.HeaderSize]
		s.limits.fetchTarget([4]byte{^d[0], ^d[1], ^d[2], ^d[3]})
	}
}

// Receive takes in a datagram from a client, a relay or anybody, that arrived
// at port 3544 of the address local: 0 primary, 1 secondary. It produces at
// most one datagram or native packet. The rules and their order are those of
// RFC 4380, 5.3.1.
func (s *Server) Receive(now time.Time, local int, from netip.AddrPort, payload []byte, out *ServerOutput) {
	s.state.Received++
	d := &s.d
	if err := wire.Parse(payload, d); err != nil { // rule 1
		s.drop(parseDrop(err))
		return
	}
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	next := d.IPv6.NextHeader()
	switch {
	case !d.IPv6.IsBubble() && next != wire.ProtoICMPv6: // rule 2
		s.drop(DropServerProtocol)
		return
	case from.Port() == wire.Port && s.own(from.Addr()):
		s.drop(DropServerLoop)
		return
	case !s.policy.unicast(from.Addr()) || from.Port() == 0: // rule 3
		s.drop(DropServerSource)
		return
	}
	src, dst := d.IPv6.Source(), d.IPv6.Destination()
	if src.IsLinkLocalUnicast() && next == wire.ProtoICMPv6 {
		s.solicited(now, local, from, src, dst, out) // rule 4
		return
	}
	client, toTeredo := wire.AddressFromAddr(dst)
	if a, ok := wire.AddressFromAddr(src); ok {
		if a.Mapped() != from { // rule 5
			s.drop(DropMismatch)
			return
		}
	} else {
		switch { // rule 6
		case !toTeredo:
			s.drop(DropServerRule7)
			return
		case client.Server() != s.config.Primary:
			s.drop(DropServerForeign)
			return
		case src.IsMulticast() || src.IsUnspecified() || src.IsLoopback() || src.Is4In6():
			s.drop(DropInnerSource)
			return
		}
	}
	if why, ok := s.forwardable(d); !ok {
		s.drop(why)
		return
	}
	if toTeredo {
		s.forward(now, from, client, out)
		return
	}
	s.forwardNative(now, from, dst, out)
}

// forwardable reports whether the packet is of a kind that clients may send
// through their server: a bubble, or a small echo message.
func (s *Server) forwardable(d *wire.Datagram) (Drop, bool) {
	if d.IPv6.IsBubble() {
		if len(d.Trailers) == 0 {
			return 0, true
		}
		var t wire.Trailers
		if len(d.Trailers) > maxTrailers || wire.ParseTrailers(d.Trailers, &t) != nil || t.Malformed {
			return DropServerTrailer, false
		}
		return 0, true
	}
	if n := len(d.IPv6.Payload()); n > maxEcho || len(d.Trailers) != 0 {
		return DropServerICMP, false
	}
	if _, err := wire.ParseEcho(d.IPv6); err != nil {
		return DropServerICMP, false
	}
	return 0, true
}

// solicited answers a router solicitation (RFC 4380, 5.3.2).
func (s *Server) solicited(now time.Time, local int, from netip.AddrPort, src, dst netip.Addr, out *ServerOutput) {
	if dst != wire.AllRouters() && dst != s.linkLocal {
		s.drop(DropServerRule7)
		return
	}
	if wire.CheckSolicitation(s.d.IPv6) != nil || len(s.d.Trailers) != 0 {
		s.drop(DropServerSolicit)
		return
	}
	if !s.policy.permits(from.Addr()) {
		s.drop(DropDenied)
		return
	}
	var client *authenticator
	if s.keys != nil {
		if client = s.keys.client(&s.d); client == nil {
			s.drop(DropServerAuth)
			return
		}
	}
	if cone := src.As16()[8]&0x80 != 0; cone {
		if !s.config.Secondary.IsValid() {
			s.drop(DropServerSecondary)
			return
		}
		local = 1 - local
	}
	if why, ok := s.limits.allow(now, from, from.Addr()); !ok {
		s.drop(why)
		return
	}
	start := len(out.buf)
	ra := wire.Advertisement{Src: s.linkLocal, Dst: src, Server: s.config.Primary, MTU: s.mtu}
	if client != nil {
		s.packet = wire.AppendAdvertisement(s.packet[:0], &ra)
		out.buf = client.appendSigned(out.buf, s.d.Auth.Nonce, from, s.packet)
	} else {
		if s.d.HasAuth {
			out.buf = wire.AppendNonce(out.buf, s.d.Auth.Nonce)
		}
		out.buf = wire.AppendOrigin(out.buf, from)
		out.buf = wire.AppendAdvertisement(out.buf, &ra)
	}
	s.state.Advertised++
	out.Transmit = append(out.Transmit, ServerTransmit{local, from, out.buf[start:len(out.buf):len(out.buf)]})
}

// forward sends the packet of s.d on to the UDP address in its destination.
func (s *Server) forward(now time.Time, from netip.AddrPort, client wire.Address, out *ServerOutput) {
	to := client.Mapped()
	switch {
	case s.own(to.Addr()):
		s.drop(DropServerLoop)
		return
	case !s.policy.permits(to.Addr()):
		s.drop(DropDenied)
		return
	case !portPermitted(to.Port()):
		s.drop(DropDeniedPort)
		return
	}
	if !s.hop() {
		return
	}
	if why, ok := s.limits.allow(now, from, to.Addr()); !ok {
		s.drop(why)
		return
	}
	start := len(out.buf)
	if client.Server() == s.config.Primary {
		out.buf = wire.AppendOrigin(out.buf, from)
	}
	out.buf = s.appendHopped(out.buf)
	s.state.Forwarded++
	out.Transmit = append(out.Transmit, ServerTransmit{0, to, out.buf[start:len(out.buf):len(out.buf)]})
}

// forwardNative passes an echo message to the native IPv6 Internet.
func (s *Server) forwardNative(now time.Time, from netip.AddrPort, dst netip.Addr, out *ServerOutput) {
	global := dst.IsGlobalUnicast() && !dst.IsPrivate() && !dst.Is4In6()
	switch {
	case s.d.IPv6.IsBubble():
		s.drop(DropServerRule7)
		return
	case !global:
		s.drop(DropServerScope)
		return
	}
	if !s.hop() {
		return
	}
	if why, ok := s.limits.allow(now, from, netip.Addr{}); !ok {
		s.drop(why)
		return
	}
	start := len(out.buf)
	out.buf = s.appendHopped(out.buf)
	s.state.Native++
	out.Native = append(out.Native, out.buf[start:len(out.buf):len(out.buf)])
}

// hop reports whether the packet may make another hop. Bubbles always may:
// some clients send them with a hop limit of 0.
func (s *Server) hop() bool {
	if s.d.IPv6.HopLimit() <= 1 && !s.d.IPv6.IsBubble() {
		s.drop(DropServerHopLimit)
		return false
	}
	return true
}

// appendHopped appends the packet of s.d with its trailers, its hop limit less
// by one unless it is 0 or 1.
func (s *Server) appendHopped(b []byte) []byte {
	const hopLimit = 7
	start := len(b)
	b = append(b, s.d.IPv6...)
	if b[start+hopLimit] > 1 {
		b[start+hopLimit]--
	}
	return append(b, s.d.Trailers...)
}

package igd

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"shipworm/testnet/nat"
)

// A Mapping is an open port.
type Mapping struct {
	Protocol    byte // 6 TCP, 17 UDP
	External    netip.AddrPort
	Internal    netip.AddrPort
	Remote      netip.Prefix // who may use it; not set = everybody
	Description string
	Expires     time.Time // zero = never
	By          string    // NATPMP, PCP, SOAP, or Static

	nonce [12]byte // of PCP
	peer  netip.AddrPort
	open  bool // the gateway knows it
}

// Static is what Mapping.By says of one that the router's owner made.
const Static = "static"

var (
	errTaken = errors.New("igd: the port is taken")
	errFull  = errors.New("igd: the table is full")
)

// Mappings returns the mappings that are alive at now, oldest first.
func (r *Router) Mappings(now time.Time) []Mapping {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expire(now)
	list := make([]Mapping, 0, len(r.mappings))
	for _, m := range r.mappings {
		list = append(list, *m)
	}
	return list
}

// Add makes a mapping as the router's owner would, one that was there before
// the client under test. An External without an address gets the router's.
func (r *Router) Add(now time.Time, m Mapping) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expire(now)
	if m.By == "" {
		m.By = Static
	}
	if !m.External.Addr().IsValid() {
		m.External = netip.AddrPortFrom(r.external(), m.External.Port())
	}
	return r.add(m)
}

// Next returns when the next mapping expires; false if none does.
func (r *Router) Next() (time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var next time.Time
	for _, m := range r.mappings {
		if !m.Expires.IsZero() && (next.IsZero() || m.Expires.Before(next)) {
			next = m.Expires
		}
	}
	return next, !next.IsZero()
}

// Advance ends the mappings that have expired by now, and returns what is to be
// announced if the gateway has got another address. Every request does the
// former too; without requests the driver calls it at Next.
func (r *Router) Advance(now time.Time) []Datagram {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expire(now)
	if !r.moved {
		return nil
	}
	r.moved = false
	return r.announce(now)
}

func (r *Router) expire(now time.Time) {
	// Forwards move with the address, and the epoch begins anew (RFC 6887, 8.5).
	if a := r.external(); a != r.addr {
		for _, m := range r.mappings {
			m.External = netip.AddrPortFrom(a, m.External.Port())
		}
		r.addr, r.began, r.moved = a, now, true
	}
	r.removeAll(func(m *Mapping) bool { return !m.Expires.IsZero() && !now.Before(m.Expires) })
}

// removeAll ends the mappings that match, and returns how many.
func (r *Router) removeAll(match func(*Mapping) bool) int {
	before := len(r.mappings)
	r.mappings = slices.DeleteFunc(r.mappings, func(m *Mapping) bool {
		if !match(m) {
			return false
		}
		r.close(m)
		return true
	})
	return before - len(r.mappings)
}

func (r *Router) remove(m *Mapping) { r.removeAll(func(x *Mapping) bool { return x == m }) }

func (r *Router) close(m *Mapping) {
	if m.open {
		r.cfg.Gateway.RemoveForward(m.Protocol, m.External)
		m.open = false
	}
}

// at returns the mapping of an external port, or nil.
func (r *Router) at(protocol byte, port uint16) *Mapping {
	for _, m := range r.mappings {
		if m.Protocol == protocol && m.External.Port() == port {
			return m
		}
	}
	return nil
}

// of returns the mapping that a protocol made for an internal endpoint, or nil.
func (r *Router) of(by string, protocol byte, internal netip.AddrPort) *Mapping {
	for _, m := range r.mappings {
		if m.By == by && m.Protocol == protocol && m.Internal == internal && !m.peer.IsValid() {
			return m
		}
	}
	return nil
}

// add opens a port that no mapping of the router has.
func (r *Router) add(m Mapping) error {
	limit := MaxMappings
	if r.q.maxMappings > 0 {
		limit = r.q.maxMappings
	}
	switch {
	case len(r.mappings) >= limit:
		return errFull
	case r.at(m.Protocol, m.External.Port()) != nil:
		return errTaken
	}
	if !r.q.deaf {
		err := r.cfg.Gateway.AddForward(nat.PortForward{
			Protocol: m.Protocol, External: m.External, Internal: m.Internal, From: m.Remote,
		})
		if err != nil && !r.q.blind {
			return err
		}
		m.open = err == nil
	}
	r.mappings = append(r.mappings, &m)
	return nil
}

// replace ends a mapping in favour of another; if that cannot be, it stays.
func (r *Router) replace(old *Mapping, m Mapping) error {
	before := *old
	r.remove(old)
	err := r.add(m)
	if err != nil {
		_ = r.add(before) // it was there before
	}
	return err
}

// Ports that a router picks itself, as miniupnpd does: not those of services
// (RFC 6887, 11.3: in no case 5350 and 5351).
const (
	lowestPort   = 1024
	pickAttempts = 200
)

// pick adds a mapping at the port that m suggests, or at the nearest free one
// above it, or at a random one. pair asks that no other client has the port in
// the other protocol (RFC 6886, 3.3).
func (r *Router) pick(m Mapping, pair bool) (*Mapping, error) {
	port := max(m.External.Port(), lowestPort)
	if m.External.Port() == 0 {
		port = max(m.Internal.Port(), lowestPort)
	}
	if r.q.otherPort {
		port = r.random()
	}
	for try := range pickAttempts {
		other := r.at(protoTCP+protoUDP-m.Protocol, port)
		mine := other == nil || other.Internal.Addr() == m.Internal.Addr()
		if port >= lowestPort && port != ControlPort && port != ControlPort-1 && (mine || !pair) {
			m.External = netip.AddrPortFrom(r.external(), port)
			err := r.add(m)
			if err == nil {
				return r.at(m.Protocol, port), nil
			}
			if !errors.Is(err, errTaken) && !errors.Is(err, nat.ErrPortInUse) {
				return nil, err
			}
		}
		if port++; try > pickAttempts/2 {
			port = r.random()
		}
	}
	return nil, errTaken
}

func (r *Router) random() uint16 {
	return uint16(lowestPort + r.rng.IntN(1<<16-lowestPort))
}

// private reports an external address behind which there is another NAT: the
// router refuses to promise what it cannot keep.
func private(a netip.Addr) bool {
	shared := netip.MustParsePrefix("100.64.0.0/10") // RFC 6598
	return a.IsPrivate() || shared.Contains(a) || a.IsUnspecified() || a.IsLoopback() || a.IsLinkLocalUnicast()
}

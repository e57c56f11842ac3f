package sim

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"shipworm/testnet/internal/ip"
	"shipworm/testnet/internal/ipv4"
)

var be = binary.BigEndian

// Ports picked for port 0 (RFC 6335, 6).
const (
	firstPort = 49152
	lastPort  = 65535
)

// anyAddr stands for all addresses of a host, of both families.
var anyAddr = netip.IPv4Unspecified()

// A UDPPort is a bound UDP port of a host.
type UDPPort struct {
	host   *Host
	local  netip.AddrPort // what it is bound to; the unspecified address takes all
	recv   func(now time.Time, from netip.AddrPort, payload []byte)
	closed bool
}

// BindUDP binds a port on all addresses of the host; port 0 picks a free one.
// What it sends comes from the host's first address of the destination's
// family and scope. recv gets each datagram
// with the world's time; payload is valid during the call. It runs inside
// Advance: it may send, bind and call At, but not Advance or Do.
func (h *Host) BindUDP(port uint16, recv func(now time.Time, from netip.AddrPort, payload []byte)) (*UDPPort, error) {
	return h.BindUDPAddr(netip.AddrPortFrom(anyAddr, port), recv)
}

// BindUDPAddr is BindUDP on one address of the host. Such a port is preferred
// to one bound to all addresses.
func (h *Host) BindUDPAddr(local netip.AddrPort, recv func(now time.Time, from netip.AddrPort, payload []byte)) (*UDPPort, error) {
	a := local.Addr()
	if !a.IsValid() || a.IsUnspecified() {
		a = anyAddr
	} else if !slices.Contains(h.addrs, a) {
		return nil, fmt.Errorf("sim: bind %v on %s: %w", local, h.name, ErrBadAddress)
	}
	port := local.Port()
	if port == 0 {
		port = h.pick(a)
	}
	local = netip.AddrPortFrom(a, port)
	if port == 0 || h.ports[local] != nil {
		return nil, fmt.Errorf("sim: bind %v on %s: %w", local, h.name, ErrPortInUse)
	}
	u := &UDPPort{host: h, local: local, recv: recv}
	h.ports[local] = u
	return u, nil
}

// pick returns the next free port, in order: what a test sees does not depend
// on luck. It is 0 if none is free.
func (h *Host) pick(a netip.Addr) uint16 {
	for range lastPort - firstPort + 1 {
		if h.port == lastPort {
			h.port = firstPort - 1
		}
		h.port++
		if h.ports[netip.AddrPortFrom(a, h.port)] == nil {
			return h.port
		}
	}
	return 0
}

// lookup finds the port that a packet is for, whose checksum may be wrong.
func (h *Host) lookup(pkt []byte, header int) *UDPPort {
	if len(h.ports) == 0 || ipv4.Proto(pkt) != ipv4.UDP || ipv4.Fragment(pkt) || len(pkt) < header+8 {
		return nil
	}
	dst := netip.AddrPortFrom(ipv4.Addr(ipv4.Dst(pkt)), be.Uint16(pkt[header+2:]))
	if u := h.ports[dst]; u != nil {
		return u
	}
	return h.ports[netip.AddrPortFrom(anyAddr, dst.Port())]
}

// SendTo sends a datagram. A payload longer than 65507 bytes is an error; so is
// a destination of a family that the port has no address of, and a closed port.
func (u *UDPPort) SendTo(to netip.AddrPort, payload []byte) error {
	return u.SendTTL(to, ipv4.DefaultTTL, payload)
}

// SendTTL is SendTo with a time to live of the caller's choice; IPv6 keeps its own.
func (u *UDPPort) SendTTL(to netip.AddrPort, ttl uint8, payload []byte) error {
	h := u.host
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	from := u.source(to.Addr())
	switch {
	case u.closed:
		return errClosed
	case !from.Addr().IsValid() || len(payload) > ipv4.MaxPayload:
		return fmt.Errorf("sim: send %d bytes to %v: %w", len(payload), to, ErrBadAddress)
	}
	h.nextID++
	h.spare = ip.AppendUDP(h.spare[:0], h.nextID, from, to, payload)
	if ttl != ipv4.DefaultTTL && from.Addr().Is4() {
		ipv4.SetTTL(h.spare, ttl)
	}
	h.Send(h.spare)
	return nil
}

// source returns what a datagram to an address comes from; the zero address if
// there is none.
func (u *UDPPort) source(to netip.Addr) netip.AddrPort {
	a := u.local.Addr()
	if a == anyAddr {
		a = u.host.source(to)
	} else if a.Is4() != to.Is4() {
		a = netip.Addr{}
	}
	return netip.AddrPortFrom(a, u.local.Port())
}

// source picks an address of the destination's family and, as far as there is
// one, scope (RFC 6724, 5, rule 2).
func (h *Host) source(to netip.Addr) netip.Addr {
	local := to.IsLinkLocalUnicast() || to.IsLinkLocalMulticast()
	var other netip.Addr
	for _, a := range h.addrs {
		switch {
		case a.Is4() != to.Is4() || !to.IsValid():
		case a.Is4() || a.IsLinkLocalUnicast() == local:
			return a
		case !other.IsValid():
			other = a
		}
	}
	return other
}

// LocalAddr returns the address that the port is bound to, or the host's first.
func (u *UDPPort) LocalAddr() netip.AddrPort {
	if u.local.Addr().IsUnspecified() {
		return netip.AddrPortFrom(u.host.Addr(), u.local.Port())
	}
	return u.local
}

// Close frees the port; later datagrams to it are dropped.
func (u *UDPPort) Close() {
	if !u.closed {
		u.closed = true
		delete(u.host.ports, u.local)
	}
}

package nat

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"shipworm/testnet/internal/ipv4"
)

// Errors of AddForward.
var (
	ErrBadForward = errors.New("nat: not a forward that this NAT can have")
	ErrPortInUse  = errors.New("nat: the external port is in use")
)

// MaxForwards bounds the port forwards of a NAT.
const MaxForwards = 4096

// A PortForward ties an external endpoint to an internal one until it is removed:
// what a user sets up by hand, or a program through UPnP or PCP. Whoever is
// outside may send to it, and what the internal endpoint sends, to whomever it
// had no mapping yet, leaves from the external one (RFC 6887, 2.2).
type PortForward struct {
	Protocol byte           // 6 TCP or 17 UDP
	External netip.AddrPort // an external address of the NAT
	Internal netip.AddrPort
	// From are the remote addresses that may use it; not set = all.
	From netip.Prefix
}

// A forwardKey is a protocol and the external endpoint of a forward, or in
// NAT.sources the internal one.
type forwardKey struct {
	proto byte
	outer endpoint
}

type forward struct {
	PortForward
	id   uint32 // of its mapping
	from uint32
	mask uint32
}

// AddForward adds a forward. It fails with ErrBadForward or, where a forward
// or mapping has the external port, ErrPortInUse. It may be slow: it looks at
// every mapping.
func (n *NAT) AddForward(f PortForward) error {
	outer, okOuter := number(f.External)
	inner, okInner := number(f.Internal)
	switch {
	case f.Protocol != protoTCP && f.Protocol != protoUDP, !okOuter, !okInner,
		outer.port == 0, inner.port == 0, !n.isExternal(outer.addr) || n.isExternal(inner.addr),
		f.From.IsValid() && !f.From.Addr().Is4():
		return fmt.Errorf("%w: %v to %v, protocol %d", ErrBadForward, f.External, f.Internal, f.Protocol)
	case len(n.forwards) >= MaxForwards:
		return fmt.Errorf("%w: there are %d already", ErrBadForward, MaxForwards)
	}
	key := forwardKey{f.Protocol, outer}
	taken := n.forwards[key].id != 0
	n.maps.each(func(_ uint32, m *mapping) {
		if m.kind == live && m.proto == f.Protocol && m.outer == outer && m.inner != inner {
			taken = true
		}
	})
	if taken {
		return fmt.Errorf("%w: %v, protocol %d", ErrPortInUse, f.External, f.Protocol)
	}
	e := forward{PortForward: f}
	if f.From.IsValid() {
		e.from, _ = ipv4.Number(f.From.Masked().Addr())
		e.mask = ^(uint32(1<<(32-f.From.Bits()) - 1))
	}
	e.id = n.insert(mapping{inner: inner, outer: outer, proto: f.Protocol, kind: static})
	n.forwards[key] = e
	n.setSource(f.Protocol, inner)
	return nil
}

// RemoveForward ends the forward of an external endpoint, connections through
// it included, and reports whether there was one.
func (n *NAT) RemoveForward(protocol byte, external netip.AddrPort) bool {
	outer, _ := number(external)
	key := forwardKey{protocol, outer}
	f, ok := n.forwards[key]
	if !ok {
		return false
	}
	m := n.maps.at(f.id)
	for m.peers != 0 {
		n.dropPeer(m.peers)
	}
	inner := m.inner
	n.maps.put(f.id)
	delete(n.forwards, key)
	n.setSource(protocol, inner)
	return true
}

// Forwards returns the forwards, ordered by protocol and external endpoint.
func (n *NAT) Forwards() []PortForward {
	list := make([]PortForward, 0, len(n.forwards))
	for _, f := range n.forwards {
		list = append(list, f.PortForward)
	}
	slices.SortFunc(list, func(a, b PortForward) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), a.External.Compare(b.External))
	})
	return list
}

// forwardOf returns the forward to an internal endpoint, or 0.
func (n *NAT) forwardOf(proto byte, inner endpoint) uint32 {
	return n.sources[forwardKey{proto, inner}]
}

// setSource chooses the forward that an internal endpoint sends from: the one
// with the lowest external endpoint.
func (n *NAT) setSource(proto byte, inner endpoint) {
	key := forwardKey{proto, inner}
	delete(n.sources, key)
	var best endpoint
	for k, f := range n.forwards {
		if k.proto != proto || n.maps.at(f.id).inner != inner {
			continue
		}
		if n.sources[key] == 0 || k.outer.addr < best.addr || k.outer.addr == best.addr && k.outer.port < best.port {
			n.sources[key], best = f.id, k.outer
		}
	}
}

// forwardAllows is the filter of a forward.
func (n *NAT) forwardAllows(m *mapping, remote endpoint) bool {
	f := n.forwards[forwardKey{m.proto, m.outer}]
	return remote.addr&f.mask == f.from
}

func number(a netip.AddrPort) (endpoint, bool) {
	v, ok := ipv4.Number(a.Addr())
	return endpoint{v, a.Port()}, ok && !a.Addr().IsUnspecified() && !a.Addr().IsMulticast()
}

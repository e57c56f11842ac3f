package igd

import (
	"net/netip"

	"shipworm/testnet/nat"
)

// A Gateway is what a Router writes its mappings to. It is called under the
// Router's lock and may not call the Router.
type Gateway interface {
	// External returns the addresses that mappings may have, the preferred
	// one first.
	External() []netip.Addr
	// AddForward opens a port, or returns an error that wraps
	// nat.ErrPortInUse or nat.ErrBadForward.
	AddForward(nat.PortForward) error
	// RemoveForward closes it, and reports whether it was open.
	RemoveForward(protocol byte, external netip.AddrPort) bool
}

// NAT returns an engine as a Gateway, for use by one goroutine at a time.
func NAT(n *nat.NAT) Gateway { return engine{n} }

type engine struct{ *nat.NAT }

func (e engine) External() []netip.Addr { return e.Config().External }

// A Memory is a Gateway without a NAT behind it, for tests of clients.
type Memory struct {
	Addrs    []netip.Addr // what External returns
	forwards map[forwardKey]nat.PortForward
}

type forwardKey struct {
	protocol byte
	external netip.AddrPort
}

// External returns Addrs.
func (m *Memory) External() []netip.Addr { return m.Addrs }

// AddForward remembers f.
func (m *Memory) AddForward(f nat.PortForward) error {
	key := forwardKey{f.Protocol, f.External}
	if _, ok := m.forwards[key]; ok {
		return nat.ErrPortInUse
	}
	if m.forwards == nil {
		m.forwards = make(map[forwardKey]nat.PortForward)
	}
	m.forwards[key] = f
	return nil
}

// RemoveForward forgets it.
func (m *Memory) RemoveForward(protocol byte, external netip.AddrPort) bool {
	key := forwardKey{protocol, external}
	_, ok := m.forwards[key]
	delete(m.forwards, key)
	return ok
}

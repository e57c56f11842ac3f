package lab

import (
	"fmt"
	"net/netip"

	"shipworm/testnet/firewall"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
)

// GatewayHost adds a host at the router's addresses on its LAN, for programs and
// services that the router has for the LAN. The router has the address since
// its first host or SetGateway.
func (r *Router) GatewayHost(name string) (*Host, error) {
	r.lab.hub.mu.Lock()
	gateway, prefix := r.gateway, r.sim.Prefix()
	r.lab.hub.mu.Unlock()
	if !gateway.IsValid() {
		return nil, fmt.Errorf("lab: router %s has no host yet, and so no address: %w", r.sim.Name(), sim.ErrBadAddress)
	}
	addrs := []netip.Addr{gateway}
	if prefix.IsValid() {
		addrs = append(addrs, prefix.Addr().Next())
	}
	return r.lab.host(name, addrs, netip.Addr{}, netip.Addr{}, link.Config{}, func() (*sim.Host, error) {
		return r.sim.GatewayHost(name)
	})
}

// Firewall calls f with the router's IPv6 firewall, or nil if it has none, as NAT
// does.
func (r *Router) Firewall(f func(*firewall.Firewall) error) error {
	r.lab.hub.mu.Lock()
	defer r.lab.hub.mu.Unlock()
	return f(r.sim.Firewall())
}

// NAT calls f with the router's engine, to look at its tables or to add and
// remove forwards. f is called under the laboratory's lock: it must be quick
// and may not call the laboratory.
func (r *Router) NAT(f func(*nat.NAT) error) error {
	r.lab.hub.mu.Lock()
	defer r.lab.hub.mu.Unlock()
	return f(r.sim.NAT())
}

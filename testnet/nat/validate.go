package nat

import (
	"errors"
	"fmt"
)

// maxPortLifetimes bounds the exceptions, each of which costs a queue.
const maxPortLifetimes = 64

// Validate returns every problem of the configuration, joined.
func (c Config) Validate() error {
	var p problems
	if c.NoTranslation {
		p.when(len(c.External) > 0, "external addresses without translation")
	} else {
		p.when(len(c.External) == 0, "no external address")
	}
	for i, a := range c.External {
		p.when(!a.Is4() || a.IsUnspecified() || a.IsMulticast(), "external address %v is not one IPv4 host", a)
		for _, b := range c.External[:i] {
			p.when(a == b, "external address %v twice", a)
		}
	}
	c.validateRules(&p)
	c.validatePorts(&p)
	c.validateBounds(&p)
	if len(p) > 0 {
		return fmt.Errorf("nat: %w", errors.Join(p...))
	}
	return nil
}

type problems []error

func (p *problems) when(bad bool, format string, a ...any) {
	if bad {
		*p = append(*p, fmt.Errorf(format, a...))
	}
}

func (c *Config) validateRules(p *problems) {
	const last = AddressAndPortDependent
	p.when(c.Mapping > last || c.Filtering > last || c.TCPMapping > Only(last) || c.TCPFiltering > Only(last) ||
		c.Allocation > Overloading || c.Hairpin > HairpinExternalSource || c.Refresh > RefreshInbound ||
		c.UnsolicitedTCP > UnsolicitedReset || c.Refusal > RefuseUnreachable || c.Fragments > FragmentsAnyOrder,
		"an unknown behaviour, allocation, hairpin, refresh or policy")
	for _, e := range c.Exempt {
		p.when(!e.Prefix.IsValid() || !e.Prefix.Addr().Is4(), "exempt prefix %v is not IPv4", e.Prefix)
	}
	depends := c.mapping(protoUDP) != EndpointIndependent && c.mapping(protoTCP) != EndpointIndependent
	p.when(c.Overlap && !depends, "overlapping ports need a mapping that depends on the destination")
	p.when(c.ReuseSource && !depends, "reusing the source needs a mapping that depends on the destination")
	p.when(c.EarlyInbound && (!c.Overlap || c.Mapping != last), "early inbound entries need overlapping ports and an address-and-port-dependent mapping")
	p.when(c.ProtocolIndependent && (c.Overlap || c.mapping(protoTCP) != c.Mapping), "protocol independence needs one mapping behaviour and no overlapping ports")
}

func (c *Config) validatePorts(p *problems) {
	p.when(c.PortMin > c.PortMax || c.PortMin == 0 && c.PortMax != 0, "port range %d-%d", c.PortMin, c.PortMax)
	p.when(c.Contiguity && c.Mapping == AddressAndPortDependent, "contiguous ports need a mapping that does not depend on the port")
	p.when(c.Overlap && c.Allocation == Overloading, "ports both overlapping and overloading")
	if c.PortBlock == 0 {
		p.when(c.MaxBlocks > 1 || c.Subscribers.IsValid(), "blocks for hosts without a block size")
		return
	}
	lo, hi := c.dynamicRange()
	p.when(int(c.PortBlock) > int(hi)-int(lo)+1, "a block of %d ports in %d-%d", c.PortBlock, lo, hi)
	p.when(c.ArbitraryPooling || c.SoftPairing, "port blocks with other than strictly paired pooling")
	p.when(c.Allocation == Overloading || c.Overlap || c.NoTranslation, "port blocks that overlap, overload or do not translate")
	if c.Subscribers.IsValid() {
		p.when(!c.Subscribers.Addr().Is4(), "subscribers %v are not IPv4", c.Subscribers)
		p.when(c.MaxBlocks > 1, "several blocks for hosts whose block is computed")
	}
}

func (c *Config) validateBounds(p *problems) {
	short := min(c.Lifetime, c.LifetimeAnswered, c.AnsweredAge, c.TCPEstablished, c.TCPTransitory, c.TCPOpening,
		c.TCPClosing, c.TCPReset, c.ICMPLifetime, c.OtherLifetime, c.Quarantine, c.FragmentLifetime)
	seen := map[uint16]bool{}
	for _, l := range c.PortLifetimes {
		short = min(short, l.Lifetime)
		p.when(l.Lifetime == 0, "no lifetime for port %d", l.Port)
		p.when(seen[l.Port], "two lifetimes for port %d", l.Port)
		seen[l.Port] = true
	}
	p.when(len(c.PortLifetimes) > maxPortLifetimes, "more than %d port lifetimes", maxPortLifetimes)
	p.when(short < 0, "a negative lifetime")
	p.when(min(c.MaxMappings, c.MaxPerHost, c.MaxPeers, c.MaxPeersPerHost, c.MaxQuarantined, c.MaxFragmented,
		c.MaxBlocks, c.HostRate, c.HostLimits.UDP, c.HostLimits.TCP, c.HostLimits.ICMP) < 0, "a negative bound")
}

// dynamicRange is the configured port range, or the one of unprivileged ports.
func (c *Config) dynamicRange() (lo, hi uint16) {
	if c.PortMax != 0 {
		return c.PortMin, c.PortMax
	}
	return defaultPortMin, defaultPortMax
}

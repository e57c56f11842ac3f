package nat

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Behavior is how much of the remote endpoint a rule looks at (RFC 4787, 4.1
// and 5).
type Behavior uint8

// Behaviours, from the most to the least open.
const (
	EndpointIndependent Behavior = iota
	AddressDependent
	AddressAndPortDependent
)

// String returns the RFC's name in lower case.
func (b Behavior) String() string {
	switch b {
	case EndpointIndependent:
		return "endpoint-independent"
	case AddressDependent:
		return "address-dependent"
	case AddressAndPortDependent:
		return "address-and-port-dependent"
	}
	return fmt.Sprintf("behavior %d", uint8(b))
}

// Allocation is how an external port is chosen (RFC 4787, 4.2.1).
type Allocation uint8

// Allocations.
const (
	Preserving Allocation = iota // the internal port; on collision another one at random
	Sequential                   // the next port that is free
	Random                       // a random free port
)

// String returns the allocation as a word.
func (a Allocation) String() string {
	switch a {
	case Preserving:
		return "preserving"
	case Sequential:
		return "sequential"
	case Random:
		return "random"
	}
	return fmt.Sprintf("allocation %d", uint8(a))
}

// Hairpin is what happens to a packet from the inside to an external endpoint
// of this NAT (RFC 4787, 6).
type Hairpin uint8

// Hairpins. RFC 4787 REQ-9 wants HairpinExternalSource.
const (
	HairpinNone           Hairpin = iota // dropped
	HairpinInternalSource                // delivered with the sender's internal endpoint as source
	HairpinExternalSource                // delivered with the sender's external endpoint as source
)

// String returns the hairpin behaviour in words.
func (h Hairpin) String() string {
	switch h {
	case HairpinNone:
		return "none"
	case HairpinInternalSource:
		return "internal source"
	case HairpinExternalSource:
		return "external source"
	}
	return fmt.Sprintf("hairpin %d", uint8(h))
}

// Refresh is which packets prolong a UDP mapping (RFC 4787, 4.3).
type Refresh uint8

// Refresh directions. REQ-6 demands outbound and allows both.
const (
	RefreshOutbound Refresh = iota
	RefreshBoth
)

// String returns the directions as a word.
func (r Refresh) String() string {
	switch r {
	case RefreshOutbound:
		return "outbound"
	case RefreshBoth:
		return "both"
	}
	return fmt.Sprintf("refresh %d", uint8(r))
}

// Defaults for zero fields of Config.
const (
	DefaultLifetime              = 5 * time.Minute             // RFC 4787, 4.3, REQ-5c
	DefaultTCPEstablished        = 2*time.Hour + 4*time.Minute // RFC 5382, 5, REQ-5
	DefaultTCPTransitory         = 4 * time.Minute             // RFC 5382, 5, REQ-5; RFC 7857, 2.1
	DefaultICMPLifetime          = 60 * time.Second            // RFC 5508, 3.2, REQ-2
	DefaultMaxMappings           = 65536                       // ours
	DefaultMaxPeers              = 4 * DefaultMaxMappings      // ours
	defaultPortMin               = 1024                        // RFC 4787, 4.2.1, REQ-3a
	defaultPortMax        uint16 = 65535
)

// Config describes a NAT. Zero fields have the documented defaults; External
// must be set unless NoTranslation is.
type Config struct {
	External []netip.Addr // addresses on the outside, IPv4

	Mapping   Behavior
	Filtering Behavior

	// NoTranslation keeps every endpoint as it is: with endpoint-independent
	// filtering a plain router, else a stateful firewall.
	NoTranslation bool
	// Block drops this protocol in both directions; 0 = none. 17 makes the
	// network that lets no UDP out.
	Block uint8

	Allocation Allocation
	// PortMin and PortMax bound external ports, both included; both 0 =
	// 1024-65535, and 1-1023 for internal ports in that class (REQ-3a).
	// Preserving keeps to them too.
	PortMin, PortMax uint16
	Parity           bool // even ports to even ports, odd to odd (REQ-4)
	// Overlap lets mappings to different destinations share an external port
	// (RFC 7857, 3); Mapping must depend on the destination.
	Overlap bool
	// ArbitraryPooling picks an external address for each mapping; default
	// is one for each internal host (REQ-2: "paired").
	ArbitraryPooling bool

	Lifetime         time.Duration // of an idle UDP mapping and of each filter entry; 0 = DefaultLifetime
	LifetimeAnswered time.Duration // the same once an answer came in; 0 = Lifetime
	Refresh          Refresh       // UDP and ICMP; TCP is refreshed both ways
	TCPEstablished   time.Duration // 0 = DefaultTCPEstablished
	TCPTransitory    time.Duration // opening, closing and reset connections; 0 = DefaultTCPTransitory
	ICMPLifetime     time.Duration // 0 = DefaultICMPLifetime

	Hairpin Hairpin
	Reject  bool // answer unsolicited packets with ICMP port unreachable; default silence

	MaxMappings int // 0 = DefaultMaxMappings; new flows beyond are dropped
	MaxPerHost  int // mappings of one internal host; 0 = MaxMappings
	MaxPeers    int // filter and connection entries; 0 = DefaultMaxPeers

	Seed uint64 // of random ports; equal seeds and packets give equal ports
}

// Validate returns every problem of the configuration, joined.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if c.NoTranslation {
		if len(c.External) > 0 {
			bad("external addresses without translation")
		}
	} else if len(c.External) == 0 {
		bad("no external address")
	}
	for _, a := range c.External {
		if !a.Is4() || a.IsUnspecified() || a.IsMulticast() {
			bad("external address %v is not one IPv4 host", a)
		}
	}
	if c.Mapping > AddressAndPortDependent || c.Filtering > AddressAndPortDependent ||
		c.Allocation > Random || c.Hairpin > HairpinExternalSource || c.Refresh > RefreshBoth {
		bad("an unknown behaviour, allocation, hairpin or refresh")
	}
	if c.PortMin > c.PortMax || c.PortMin == 0 && c.PortMax != 0 {
		bad("port range %d-%d", c.PortMin, c.PortMax)
	}
	if c.Overlap && c.Mapping == EndpointIndependent {
		bad("overlapping ports need a mapping that depends on the destination")
	}
	if min(c.Lifetime, c.LifetimeAnswered, c.TCPEstablished, c.TCPTransitory, c.ICMPLifetime) < 0 {
		bad("a negative lifetime")
	}
	if min(c.MaxMappings, c.MaxPerHost, c.MaxPeers) < 0 {
		bad("a negative bound")
	}
	if len(errs) > 0 {
		return fmt.Errorf("nat: %w", errors.Join(errs...))
	}
	return nil
}

func (c Config) withDefaults() Config {
	c.External = append([]netip.Addr(nil), c.External...)
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.Lifetime, DefaultLifetime)
	def(&c.LifetimeAnswered, c.Lifetime)
	def(&c.TCPEstablished, DefaultTCPEstablished)
	def(&c.TCPTransitory, DefaultTCPTransitory)
	def(&c.ICMPLifetime, DefaultICMPLifetime)
	if c.MaxMappings == 0 {
		c.MaxMappings = DefaultMaxMappings
	}
	if c.MaxPerHost == 0 {
		c.MaxPerHost = c.MaxMappings
	}
	if c.MaxPeers == 0 {
		c.MaxPeers = DefaultMaxPeers
	}
	return c
}

// life is the idle time that a class of timers allows.
func (c *Config) life(k class) int64 {
	return int64([classes]time.Duration{
		udpFresh: c.Lifetime, udpAnswered: c.LifetimeAnswered,
		tcpTransitory: c.TCPTransitory, tcpEstablished: c.TCPEstablished,
		icmpEcho: c.ICMPLifetime,
	}[k])
}

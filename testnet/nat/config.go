package nat

import (
	"net/netip"
	"time"
)

// Defaults for zero fields of Config.
const (
	DefaultLifetime                = 5 * time.Minute             // RFC 4787, 4.3, REQ-5c
	DefaultTCPEstablished          = 2*time.Hour + 4*time.Minute // RFC 5382, 5, REQ-5
	DefaultTCPTransitory           = 4 * time.Minute             // RFC 5382, 5, REQ-5; RFC 7857, 2.1 and 2.2
	DefaultICMPLifetime            = 60 * time.Second            // RFC 5508, 3.2, REQ-2
	DefaultFragmentLifetime        = 30 * time.Second            // ours; RFC 791, 3.2 suggests 15 s or more
	DefaultMaxMappings             = 65536                       // ours
	DefaultMaxPeers                = 4 * DefaultMaxMappings      // ours
	DefaultMaxFragmented           = 256                         // ours
	defaultPortMin                 = 1024                        // RFC 4787, 4.2.1, REQ-3a
	defaultPortMax          uint16 = 65535
)

// Config describes a NAT. Zero fields have the documented defaults; External
// must be set unless NoTranslation is.
//
// The JSON names are those of profile files, see [Config.MarshalJSON].
type Config struct {
	External []netip.Addr `json:"external,omitempty"` // addresses on the outside, IPv4

	Mapping      Behavior `json:"mapping"`
	Filtering    Behavior `json:"filtering"`
	TCPMapping   Override `json:"tcp_mapping,omitzero"`   // default: as Mapping
	TCPFiltering Override `json:"tcp_filtering,omitzero"` // default: as Filtering (RFC 5382, 4.3, REQ-3b)
	// TCPOutboundOnly lets nobody outside open a connection, whatever the
	// filter says: "connection-dependent filtering" (RFC 5382, 4.3). A
	// simultaneous open still works.
	TCPOutboundOnly bool `json:"tcp_outbound_only,omitzero"`
	// ProtocolIndependent gives TCP and UDP of one internal endpoint one
	// external port, and with endpoint-independent filtering lets either in
	// where the other has a mapping (RFC 7857, 5 and 6).
	ProtocolIndependent bool `json:"protocol_independent,omitzero"`

	// NoTranslation keeps every endpoint as it is: with endpoint-independent
	// filtering a plain router, else a stateful firewall.
	NoTranslation bool `json:"no_translation,omitzero"`
	// Exempt destinations are reached without translation (RFC 6888, REQ-6).
	Exempt []Exemption `json:"exempt,omitempty"`
	// OtherProtocols translates the addresses of protocols without ports, for
	// one inside host per protocol and destination; default is to drop them.
	OtherProtocols bool `json:"other_protocols,omitzero"`
	// Block drops this protocol in both directions; 0 = none. 17 makes the
	// network that lets no UDP out, 41 the one that stops 6in4.
	Block uint8 `json:"block_protocol,omitzero"`
	// BlockPorts drops UDP to and from these remote ports: 3544 stops Teredo.
	BlockPorts []uint16 `json:"block_ports,omitempty"`

	Allocation Allocation `json:"allocation"`
	// Step is how far a sequential NAT goes on for each mapping; 0 = 1.
	Step uint16 `json:"step,omitzero"`
	// PortMin and PortMax bound external ports, both included; both 0 =
	// 1024-65535, and 1-1023 for internal ports in that class (REQ-3a).
	// Preserving keeps to them too.
	PortMin uint16 `json:"port_min,omitzero"`
	PortMax uint16 `json:"port_max,omitzero"`
	Parity  bool   `json:"parity,omitzero"` // even ports to even ports, odd to odd (RFC 4787, REQ-4)
	// Contiguity gives the odd port after an even one the external port after
	// it (RFC 4787, 4.2.3: RTP and RTCP).
	Contiguity bool `json:"contiguity,omitzero"`
	// Overlap lets mappings to different destinations share an external port
	// (RFC 7857, 3); mappings must depend on the destination.
	Overlap bool `json:"overlap,omitzero"`
	// ReuseSource gives a new mapping the external endpoint that its internal
	// endpoint got last, if it is free: a NAT whose mappings depend on the
	// destination then looks endpoint-independent.
	ReuseSource bool `json:"reuse_source,omitzero"`
	// PortBlock gives every internal host that many ports of its own; 0 =
	// hosts share all ports. MaxBlocks is how many blocks a host may have; 0
	// = 1. (RFC 6888, 5)
	PortBlock uint16 `json:"port_block,omitzero"`
	MaxBlocks int    `json:"max_blocks,omitzero"`
	// Subscribers are the internal addresses whose block is computed from the
	// address (RFC 7422); others are refused. Not set = blocks are handed out
	// as hosts appear.
	Subscribers netip.Prefix `json:"subscribers,omitzero"`
	// ArbitraryPooling picks an external address for each mapping; default
	// is one for each internal host (REQ-2: "paired").
	ArbitraryPooling bool `json:"arbitrary_pooling,omitzero"`
	// SoftPairing lets a host whose address ran out of ports use another
	// (RFC 7857, 4: "soft-APP").
	SoftPairing bool `json:"soft_pairing,omitzero"`
	// RewriteID gives outbound packets that may be fragmented identifications
	// of the NAT's own, so that those of two hosts never meet (RFC 7857, 10).
	RewriteID bool `json:"rewrite_id,omitzero"`

	Lifetime         time.Duration  `json:"-"` // of an idle UDP mapping and of each filter entry; 0 = DefaultLifetime
	LifetimeAnswered time.Duration  `json:"-"` // the same once an answer came in; 0 = Lifetime
	AnsweredAge      time.Duration  `json:"-"` // LifetimeAnswered counts only for mappings this old
	PortLifetimes    []PortLifetime `json:"-"` // exceptions for UDP by destination port
	Refresh          Refresh        `json:"refresh"`
	TCPEstablished   time.Duration  `json:"-"` // 0 = DefaultTCPEstablished
	TCPTransitory    time.Duration  `json:"-"` // default of the three below; 0 = DefaultTCPTransitory
	TCPOpening       time.Duration  `json:"-"` // connections that are opening; 0 = TCPTransitory
	TCPClosing       time.Duration  `json:"-"` // after both FINs; 0 = TCPTransitory
	TCPReset         time.Duration  `json:"-"` // after a reset; 0 = TCPTransitory
	ICMPLifetime     time.Duration  `json:"-"` // 0 = DefaultICMPLifetime
	OtherLifetime    time.Duration  `json:"-"` // of OtherProtocols; 0 = Lifetime
	// Quarantine keeps the port of an ended UDP or ICMP mapping, up to
	// MaxQuarantined of them, from anybody else (RFC 6888, REQ-8: 120 s); 0 =
	// ports are free at once. MaxQuarantined 0 = MaxMappings.
	Quarantine     time.Duration `json:"-"`
	MaxQuarantined int           `json:"max_quarantined,omitzero"`

	Hairpin Hairpin `json:"hairpin"`
	// Reject answers unsolicited packets with ICMP port unreachable; default
	// is silence.
	Reject         bool        `json:"reject,omitzero"`
	UnsolicitedTCP Unsolicited `json:"unsolicited_tcp,omitzero"`
	Refusal        Refusal     `json:"refusal,omitzero"`
	// DropICMPErrors lets no ICMP error through, as networks do where path
	// MTU discovery fails.
	DropICMPErrors bool `json:"drop_icmp_errors,omitzero"`

	Fragments        Fragments     `json:"fragments"`
	FragmentLifetime time.Duration `json:"-"`                       // how long pieces are remembered and held; 0 = DefaultFragmentLifetime
	MaxFragmented    int           `json:"max_fragmented,omitzero"` // datagrams in pieces at a time; 0 = DefaultMaxFragmented

	// ALG rewrites the internal endpoint in outbound UDP payloads and the
	// external one in inbound, where they stand in binary: the "generic ALG"
	// that RFC 5780, 3.6 detects and RFC 4787, REQ-10 forbids by default.
	ALG bool `json:"alg,omitzero"`
	// Forwarding says that hosts may have forwards for the asking, as with UPnP
	// or PCP. The engine leaves the asking to others: see AddForward.
	Forwarding bool `json:"forwarding,omitzero"`
	// EarlyInbound is a quirk of Linux: an unsolicited UDP packet that the
	// router itself accepts leaves an entry, and a later mapping to its sender
	// has to move to another port. Needs Overlap.
	EarlyInbound bool `json:"early_inbound,omitzero"`
	// ICMPEndsMapping is a bug that some NATs have: an ICMP error ends the
	// mapping it is about, against RFC 4787, REQ-12.
	ICMPEndsMapping bool `json:"icmp_ends_mapping,omitzero"`

	MaxMappings     int    `json:"max_mappings,omitzero"`       // 0 = DefaultMaxMappings; new flows beyond are dropped
	MaxPerHost      int    `json:"max_per_host,omitzero"`       // mappings of one internal host; 0 = MaxMappings
	HostLimits      Limits `json:"host_limits,omitzero"`        // the same by protocol (RFC 6888, REQ-4b)
	HostRate        int    `json:"host_rate,omitzero"`          // new mappings of one host per second, as many at once; 0 = no bound (REQ-4c)
	MaxPeers        int    `json:"max_peers,omitzero"`          // filter and connection entries; 0 = DefaultMaxPeers
	MaxPeersPerHost int    `json:"max_peers_per_host,omitzero"` // the same of one internal host (REQ-5); 0 = MaxPeers

	Seed uint64 `json:"seed,omitzero"` // of random ports; equal seeds and packets give equal ports
}

func (c Config) withDefaults() Config {
	c.External = append([]netip.Addr(nil), c.External...)
	c.Exempt = append([]Exemption(nil), c.Exempt...)
	c.BlockPorts = append([]uint16(nil), c.BlockPorts...)
	c.PortLifetimes = append([]PortLifetime(nil), c.PortLifetimes...)
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.Lifetime, DefaultLifetime)
	def(&c.LifetimeAnswered, c.Lifetime)
	def(&c.TCPEstablished, DefaultTCPEstablished)
	def(&c.TCPTransitory, DefaultTCPTransitory)
	def(&c.TCPOpening, c.TCPTransitory)
	def(&c.TCPClosing, c.TCPTransitory)
	def(&c.TCPReset, c.TCPTransitory)
	def(&c.ICMPLifetime, DefaultICMPLifetime)
	def(&c.OtherLifetime, c.Lifetime)
	def(&c.FragmentLifetime, DefaultFragmentLifetime)
	count := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	count(&c.MaxMappings, DefaultMaxMappings)
	count(&c.MaxPerHost, c.MaxMappings)
	count(&c.MaxPeers, DefaultMaxPeers)
	count(&c.MaxPeersPerHost, c.MaxPeers)
	count(&c.MaxQuarantined, c.MaxMappings)
	count(&c.MaxFragmented, DefaultMaxFragmented)
	count(&c.MaxBlocks, 1)
	if c.Step == 0 {
		c.Step = 1
	}
	return c
}

// lives are the idle times of the timer classes, those of PortLifetimes last.
func (c *Config) lives() []int64 {
	l := make([]int64, classes, int(classes)+len(c.PortLifetimes))
	for k, d := range map[class]time.Duration{
		udpFresh: c.Lifetime, udpAnswered: c.LifetimeAnswered,
		tcpOpening: c.TCPOpening, tcpEstablished: c.TCPEstablished,
		tcpClosing: c.TCPClosing, tcpReset: c.TCPReset,
		icmpEcho: c.ICMPLifetime, otherProtocol: c.OtherLifetime, quarantined: c.Quarantine,
	} {
		l[k] = int64(d)
	}
	for _, p := range c.PortLifetimes {
		l = append(l, int64(p.Lifetime))
	}
	return l
}

// mapping is the mapping behaviour for a protocol.
func (c *Config) mapping(proto byte) Behavior {
	if proto == protoTCP {
		return c.TCPMapping.Or(c.Mapping)
	}
	return c.Mapping
}

// filtering is the filtering behaviour for a protocol.
func (c *Config) filtering(proto byte) Behavior {
	if proto == protoTCP {
		return c.TCPFiltering.Or(c.Filtering)
	}
	return c.Filtering
}

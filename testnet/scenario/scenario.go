package scenario

import (
	"net/netip"
	"slices"
	"time"

	"shipworm/testnet/firewall"
	"shipworm/testnet/igd"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

// DefaultLimit ends a run that names no limit.
const DefaultLimit = time.Minute

// A Scenario is a network, what happens to it, what runs on it, and what is
// expected of it. Parse makes it; it is not changed afterwards.
type Scenario struct {
	Title  string
	Seed   uint64        // of every die, unless Options has one; 0 = 1
	Limit  time.Duration // the run ends then at the latest
	Nodes  []*Node       // in the order of the file
	Events []*Event      // in the order of the file

	Programs     []*Program     // in the order of the file
	Adversaries  []*Adversary   // in the order of the file
	Expectations []*Expectation // in the order of the file
}

// A Node is a host or a NAT. Its access line leads to the network of the NAT it
// is behind, or to the Internet.
type Node struct {
	Name   string
	Line   link.Config // of each direction
	Behind *Node       // a NAT; nil = the Internet

	// Addrs are a host's IPv4 addresses, or the external ones of a NAT that
	// translates.
	Addrs []netip.Addr
	// Addrs6 are a host's IPv6 addresses.
	Addrs6 []netip.Addr

	// Adversary tells that the host is an adversary's: no program runs on it.
	Adversary bool
	// NAT is nil for a host. Its External is Addrs.
	NAT *nat.Config
	// Lan is the network behind a NAT.
	Lan netip.Prefix
	// IGD is how programs behind the NAT can open its ports; no Name = not.
	IGD igd.Profile
	// Prefix is the network's IPv6, which the router does not translate; zero =
	// none. Firewall stands before it, unless it is nil.
	Prefix   netip.Prefix
	Firewall *firewall.Config

	at       position
	behindAt position
	lanAt    position   // of the network that the file names
	line     *table     // of its line, or nil
	addrsAt  []position // of the addresses that the file names
	addrs6At []position
	prefixAt position
}

// IsNAT reports whether the node is a NAT.
func (n *Node) IsNAT() bool { return n.NAT != nil }

// all returns the addresses of a host.
func (n *Node) all() []netip.Addr { return slices.Concat(n.Addrs, n.Addrs6) }

// Action is what an event does.
type Action uint8

// Actions.
const (
	Reboot    Action = iota // a NAT forgets its mappings; off the line until Until
	Readdress               // a NAT gets other external addresses
	Unplug                  // a node's line carries nothing
	Replug                  // the end of Unplug
	Change                  // of a node's line
)

// String returns the action's key in the file.
func (a Action) String() string {
	return [...]string{"reboot", "readdress", "unplug", "replug", "link"}[a]
}

// An Event happens at its time.
type Event struct {
	At    time.Duration // after the start
	Until time.Duration // when it is undone; 0 = never
	Do    Action
	Node  *Node
	To    []netip.Addr       // of Readdress
	Set   func(*link.Config) // of Change

	line   int
	nodeAt position
	set    *table // of Change
}

// Kind says what a program is.
type Kind string

// Kinds of programs. All but Other are our own and run in both clocks.
const (
	TeredoServer Kind = "teredo-server"
	TeredoClient Kind = "teredo-client"
	TeredoPing   Kind = "teredo-ping"
	UDPEcho      Kind = "udp-echo"
	UDPPing      Kind = "udp-ping"
	PortMap      Kind = "port-map"
	Other        Kind = "exec" // a program of the machine
)

// A Program runs on a host.
type Program struct {
	Name string
	Kind Kind
	Host *Node

	Start time.Duration // not before this time
	After *Program      // not before this one is ready, or nil

	Args    []string // of Other
	Service bool     // of Other: it does not end by itself
	Listen  Listen   // of Other: where it listens once it is ready

	Server *Node  // of TeredoClient and TeredoPing
	To     *Node  // of the pings; of UDPPing a NAT too
	Port   uint16 // of UDPEcho, UDPPing and PortMap
	IPv6   bool   // of UDPPing: to the first address of that family

	Count          int // of packets
	Interval, Wait time.Duration
	Size           int // of data in a packet, in bytes

	at      position
	afterAt position
	execAt  position // of Args
}

// target is where a UDPPing sends to.
func (p *Program) target() netip.AddrPort {
	if p.IPv6 {
		return netip.AddrPortFrom(p.To.Addrs6[0], p.Port)
	}
	return netip.AddrPortFrom(p.To.Addrs[0], p.Port)
}

// ends reports whether the program ends by itself.
func (p *Program) ends() bool {
	switch p.Kind {
	case TeredoPing, UDPPing:
		return true
	case Other:
		return !p.Service
	}
	return false
}

// Listen is a port that a program opens; the zero value is none.
type Listen struct {
	Network string // "tcp" or "udp"
	Port    uint16
}

// An Expectation is held or fails. Which fields count depends on Of.
type Expectation struct {
	Of   Subject
	Line int // in the file

	Program *Program // of OfProgram
	Exit    *int
	Answers *int // at least
	Lost    *int // at most
	// LatencyMin and LatencyMax bound every answer, MedianMin and MedianMax
	// the one in the middle; 0 = no bound.
	LatencyMin, LatencyMax, MedianMin, MedianMax time.Duration
	Output                                       string // contained in what the program printed

	Host   *Node // of OfQualified and OfReachable (its target)
	From   *Node // of OfReachable
	Mapped *Node // the NAT that owns the mapped address, or nil
	// MappedAddr is the address of the mapping, and its port unless 0.
	MappedAddr netip.AddrPort
	Since      time.Duration // what came before does not count; -1 = the program's start
	Within     time.Duration // after Since

	Reason string // of OfDrops: contained in the reason
	Where  *Node  // at this node or its line; nil = anywhere
	Min    uint64
	Max    *uint64
}

// Subject is what an expectation is about.
type Subject uint8

// Subjects.
const (
	OfProgram   Subject = iota // a program's result
	OfQualified                // a Teredo client has an address
	OfReachable                // a ping is answered
	OfDrops                    // packets dropped
)

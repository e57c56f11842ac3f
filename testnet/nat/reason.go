package nat

import "fmt"

// Reason names the rule that decided about a packet.
type Reason uint8

// Reasons to let a packet through, then reasons to drop it.
const (
	Unspecified Reason = iota

	Mapped       // outbound, by a mapping that was there
	NewMapping   // outbound, by a mapping made for it
	Permitted    // inbound, by a mapping, past the filter
	Hairpinned   // from the inside to another inside endpoint
	QuotedFlow   // an ICMP error about a known flow
	Untranslated // no translation and no filter

	FragmentFollows // a later piece, treated as the first
	FragmentHeld    // a later piece that came first

	Malformed        // not a whole, correct IPv4 packet
	Fragmented       // a fragment
	BadProtocol      // a protocol the engine does not translate
	BadICMP          // an ICMP message the engine does not translate
	BadChecksum      // an ICMP error whose checksum, or that of its quote, is wrong
	Blocked          // Config.Block
	BlockedPort      // Config.BlockPorts
	NotExternal      // inbound, to an address that is not the NAT's
	ToSelf           // for the NAT itself, not for a host behind it
	NoMapping        // inbound, nothing maps that endpoint
	FilteredAddress  // inbound, the inside never sent to that address
	FilteredPort     // inbound, the inside sent to that address but another port
	NoHairpin        // to an inside endpoint, and hairpinning is off
	UnknownQuote     // an ICMP error about no known flow
	EarlyEntry       // Config.EarlyInbound: a stray packet of the same sender was first
	PortHeld         // Config.Quarantine: the port of a mapping that ended
	Unopened         // Config.TCPOutboundOnly
	StrayReset       // a TCP reset from the inside, about no connection
	SYNHeld          // an unsolicited SYN whose answer comes later
	FragmentEarly    // a later piece without the first
	TooManyFragments // more than MaxFragmented datagrams in pieces
	ErrorsDropped    // Config.DropICMPErrors

	PortsExhausted   // no external port left
	TableFull        // MaxMappings, MaxPeers or MaxPeersPerHost reached
	HostLimitReached // MaxPerHost or HostLimits reached
	HostTooFast      // HostRate exceeded
	NotSubscriber    // not in Config.Subscribers

	reasons // how many there are
)

var reasonText = [...]string{
	Unspecified:      "no reason given",
	Mapped:           "mapping exists",
	NewMapping:       "mapping created",
	Permitted:        "mapping exists and the filter permits the sender",
	Hairpinned:       "turned back to a host on the inside",
	QuotedFlow:       "ICMP error about a known flow",
	Untranslated:     "forwarded without translation",
	Malformed:        "not a well-formed IPv4 packet",
	Fragmented:       "fragments are dropped",
	BadProtocol:      "protocol is not translated",
	BadICMP:          "ICMP message is not translated",
	BadChecksum:      "ICMP error with a wrong checksum",
	Blocked:          "protocol is blocked",
	BlockedPort:      "port is blocked",
	NotExternal:      "destination is not an external address of this NAT",
	ToSelf:           "addressed to the NAT itself",
	NoMapping:        "no mapping for the destination",
	FilteredAddress:  "filtered: the inside never sent to this address",
	FilteredPort:     "filtered: the inside sent to this address but not to this port",
	NoHairpin:        "hairpinning is off",
	UnknownQuote:     "ICMP error about no known flow",
	FragmentFollows:  "follows the first fragment",
	FragmentHeld:     "held until the first fragment comes",
	EarlyEntry:       "an earlier packet of this sender left an entry for the NAT itself",
	PortHeld:         "the mapping of this port has ended",
	Unopened:         "connections are opened from the inside only",
	StrayReset:       "a reset for no connection",
	SYNHeld:          "unsolicited SYN, to be answered after 6 s unless the inside opens the connection",
	FragmentEarly:    "a fragment came before the first of its datagram",
	TooManyFragments: "too many datagrams in fragments",
	ErrorsDropped:    "ICMP errors are dropped",
	PortsExhausted:   "no external port is free",
	TableFull:        "the table is full",
	HostLimitReached: "the inside host has too many mappings",
	HostTooFast:      "the inside host makes mappings too fast",
	NotSubscriber:    "the inside host is no subscriber",
}

// String returns the reason as a plain English sentence fragment.
func (r Reason) String() string {
	if int(r) < len(reasonText) {
		return reasonText[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

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

	Malformed        // not a whole, correct IPv4 packet
	Fragmented       // a fragment
	BadProtocol      // a protocol the engine does not translate
	BadICMP          // an ICMP message the engine does not translate
	BadChecksum      // an ICMP error whose checksum, or that of its quote, is wrong
	Blocked          // Config.Block
	NotExternal      // inbound, to an address that is not the NAT's
	ToSelf           // for the NAT itself, not for a host behind it
	NoMapping        // inbound, nothing maps that endpoint
	FilteredAddress  // inbound, the inside never sent to that address
	FilteredPort     // inbound, the inside sent to that address but another port
	NoHairpin        // to an inside endpoint, and hairpinning is off
	UnknownQuote     // an ICMP error about no known flow
	PortsExhausted   // no external port left
	TableFull        // MaxMappings or MaxPeers reached
	HostLimitReached // MaxPerHost reached

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
	Fragmented:       "fragments are not supported",
	BadProtocol:      "protocol is not translated",
	BadICMP:          "ICMP message is not translated",
	BadChecksum:      "ICMP error with a wrong checksum",
	Blocked:          "protocol is blocked",
	NotExternal:      "destination is not an external address of this NAT",
	ToSelf:           "addressed to the NAT itself",
	NoMapping:        "no mapping for the destination",
	FilteredAddress:  "filtered: the inside never sent to this address",
	FilteredPort:     "filtered: the inside sent to this address but not to this port",
	NoHairpin:        "hairpinning is off",
	UnknownQuote:     "ICMP error about no known flow",
	PortsExhausted:   "no external port is free",
	TableFull:        "the table is full",
	HostLimitReached: "the inside host has too many mappings",
}

// String returns the reason as a plain English sentence fragment.
func (r Reason) String() string {
	if int(r) < len(reasonText) {
		return reasonText[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

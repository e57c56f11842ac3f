package firewall

import "fmt"

// Reason names the rule that decided about a packet.
type Reason uint8

// Reasons to let a packet pass, then reasons to refuse it.
const (
	Unspecified Reason = iota

	Begun      // outbound, the first of its flow
	Known      // of a flow that is known
	Outgoing   // outbound, without a flow of its own
	Permitted  // inbound, to an endpoint that is open to the sender
	Opened     // inbound, through a pinhole
	QuotedFlow // inbound, an ICMPv6 error about a known flow
	Exempt     // inbound, IPsec

	Unsolicited   // inbound, nobody inside asked for it
	UnknownQuote  // inbound, an ICMPv6 error about no known flow
	FragmentEarly // inbound, a later piece without the first
	Malformed     // not a whole IPv6 packet, or its headers are not
	BadAddress    // an address that must not be on the Internet
	TableFull     // Config.MaxFlows
)

// Pass reports whether the packet goes on.
func (r Reason) Pass() bool { return r >= Begun && r <= Exempt }

// String returns the reason as a plain English fragment.
func (r Reason) String() string {
	switch r {
	case Unspecified:
		return "no reason given"
	case Begun:
		return "flow begun"
	case Known:
		return "flow known"
	case Outgoing:
		return "outbound"
	case Permitted:
		return "the firewall is open to the sender"
	case Opened:
		return "through a pinhole"
	case QuotedFlow:
		return "ICMPv6 error about a known flow"
	case Exempt:
		return "IPsec is not filtered"
	case Unsolicited:
		return "firewall: nobody inside asked for it"
	case UnknownQuote:
		return "firewall: ICMPv6 error about no known flow"
	case FragmentEarly:
		return "firewall: a piece whose first did not pass"
	case Malformed:
		return "firewall: not a well-formed IPv6 packet"
	case BadAddress:
		return "firewall: an address that must not be on the Internet"
	case TableFull:
		return "firewall: no room for another flow"
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

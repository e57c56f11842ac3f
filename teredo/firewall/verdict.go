package firewall

// Verdict says whether a packet passes and, if not, why.
type Verdict uint8

// Verdicts.
const (
	Pass        Verdict = iota
	Malformed           // not one whole IPv6 packet with a whole upper header
	NotOurs             // in: the destination is not the host's address
	Protocol            // neither TCP nor UDP nor ICMPv6, or extension headers before it
	ICMPType            // an ICMPv6 message that has no business in a tunnel
	EchoOff             // in: an echo request, with Config.NoEcho
	Unsolicited         // in: of no flow, and to no open port
	Spoofed             // out: the source is not the host's address
	Multicast           // out: the destination is a group
	NumVerdicts
)

var verdictNames = [NumVerdicts]string{
	"pass", "malformed", "not_ours", "protocol", "icmp_type", "echo_off", "unsolicited", "spoofed", "multicast",
}

// String returns a short name, stable for counters and JSON.
func (v Verdict) String() string {
	if v >= NumVerdicts {
		return "unknown"
	}
	return verdictNames[v]
}

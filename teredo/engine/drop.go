package engine

import "encoding/json"

// Drop is the reason why a machine dropped a packet, or did not send one.
type Drop uint8

// Reasons. The first group is shared, the second the client's, the third the
// server's, the fourth the relay's.
const (
	DropMalformed   Drop = iota // lengths, version or headers that do not add up
	DropHeader                  // neither IPv6 nor a Teredo header
	DropRouting                 // routing header
	DropExtension               // extension header chain, jumbo, first fragment
	DropDenied                  // IPv4 address denied by the policy
	DropDeniedPort              // port 0, or a service port before trust
	DropInnerSource             // IPv6 source that cannot be honest
	DropMismatch                // Teredo source that its UDP source does not match
	DropRandom                  // no randomness to be had

	DropNotQualified   // no address yet
	DropRASource       // advertisement from somebody we did not ask
	DropRANonce        // without authentication header, or its nonce not outstanding
	DropRAConfirmation // server asks for a new key
	DropRAOrigin       // without a usable origin indication
	DropRAInvalid      // RFC 4861, 6.1.2 or option checks
	DropRADestination  // not to the link-local address in use
	DropRASignature    // not signed with our key
	DropRAServer       // another server's prefix
	DropNotOurs        // IPv6 destination is not our address
	DropLoop           // our own packet came back
	DropDiscovery      // Neighbor Discovery or MLD from the tunnel
	DropLinkLocal      // bubble from a link-local source, not through the server
	DropTrailer        // unknown trailer that asks to be discarded, or malformed alternate addresses
	DropUnproven       // packet from a native source that did not pass the test in time
	DropBubbleLimit    // no bubble allowed to this peer yet
	DropAnswerLimit    // too many bubbles to answer
	DropPingLimit      // too many connectivity tests
	DropPingToken      // echo reply that we did not ask for
	DropNonce          // direct bubble from elsewhere without a nonce of ours
	DropAlternate      // alternate address that may not be sent to
	DropPortLimit      // no extra port to be had
	DropQueueFull      // peer's or common queue full
	DropQueueOld       // waited too long
	DropPeerFailed     // peer did not answer
	DropEvicted        // peer made room for another
	DropSendMalformed  // outgoing packet not well-formed
	DropSendTooBig     // outgoing packet larger than the MTU
	DropSendSource     // outgoing packet not from our address
	DropSendTarget     // outgoing packet to an address no tunnel leads to

	DropLocal // announcement of no client on our link behind our NAT

	DropServerLoop      // from or to one of our own addresses
	DropServerProtocol  // neither bubble nor ICMPv6 (rule 2)
	DropServerSource    // IPv4 source denied (rule 3)
	DropServerSolicit   // malformed or misdirected solicitation (rule 4)
	DropServerForeign   // native source, but not to a client of ours (rule 6)
	DropServerRule7     // none of the rules 4 to 6 accepted it
	DropServerICMP      // ICMPv6 other than a small echo
	DropServerTrailer   // more than well-formed trailers behind a bubble
	DropServerScope     // IPv6 destination not of global scope
	DropServerSecondary // answer must come from a second address; there is none
	DropServerHopLimit  // hop limit used up
	DropServerEndpoint  // over the rate of one client
	DropServerHost      // over the rate of one IPv4 source
	DropServerAuth      // solicitation that no known client signed
	DropServerTarget    // over the rate of one IPv4 destination

	DropRelaySource   // from a native node that the relay does not serve
	DropRelayTarget   // to a native node that the relay does not serve
	DropRelayLoop     // Teredo or tunnelled by this very host already
	DropRelayUnknown  // from a client that no node sent to
	DropRelayHopLimit // hop limit used up
	DropRelayRate     // bubble over the rate
	DropRelayVictim   // too many bubbles to one server or host
	DropRelayCredit   // more than a client may get that did not prove itself

	dropCount
)

var dropNames = [dropCount]string{
	DropMalformed: "malformed", DropHeader: "unknown header", DropRouting: "routing header",
	DropExtension: "extension headers", DropDenied: "denied address", DropDeniedPort: "denied port",
	DropInnerSource: "inner source", DropMismatch: "source mismatch", DropRandom: "no randomness",

	DropNotQualified: "not qualified", DropRASource: "RA source", DropRANonce: "RA nonce",
	DropRAConfirmation: "RA confirmation", DropRAOrigin: "RA origin", DropRAInvalid: "RA invalid",
	DropRADestination: "RA destination", DropRAServer: "RA server", DropRASignature: "RA signature", DropNotOurs: "not our address",
	DropLoop: "loop", DropDiscovery: "neighbor discovery", DropLinkLocal: "link-local bubble",
	DropTrailer: "trailer", DropUnproven: "unproven source", DropBubbleLimit: "bubble limit",
	DropAnswerLimit: "answer limit", DropPingLimit: "ping limit", DropPingToken: "ping token",
	DropNonce: "bubble nonce", DropAlternate: "alternate address", DropPortLimit: "extra ports",
	DropQueueFull: "queue full", DropQueueOld: "queue age", DropPeerFailed: "peer failed",
	DropEvicted: "evicted", DropSendMalformed: "sent malformed", DropSendTooBig: "sent too big",
	DropSendSource: "sent source", DropSendTarget: "sent destination",

	DropLocal: "local discovery",

	DropServerLoop: "own address", DropServerProtocol: "protocol", DropServerSource: "IPv4 source",
	DropServerSolicit: "solicitation", DropServerForeign: "foreign client", DropServerRule7: "no rule",
	DropServerICMP: "ICMPv6", DropServerTrailer: "bubble trailer", DropServerScope: "scope",
	DropServerSecondary: "no second address", DropServerHopLimit: "hop limit",
	DropServerEndpoint: "client rate", DropServerHost: "source rate", DropServerTarget: "destination rate",
	DropServerAuth: "unknown client key",

	DropRelaySource: "native source", DropRelayTarget: "native destination", DropRelayLoop: "tunnel loop",
	DropRelayUnknown: "unknown client", DropRelayHopLimit: "relay hop limit", DropRelayRate: "bubble rate",
	DropRelayVictim: "bubble destination", DropRelayCredit: "unproven client",
}

// String returns a few plain words.
func (d Drop) String() string {
	if d < dropCount {
		return dropNames[d]
	}
	return "unknown reason"
}

// Drops counts drops by reason. Index it with a [Drop].
type Drops [dropCount]uint64

// MarshalJSON writes the reasons that occurred, by name.
func (d Drops) MarshalJSON() ([]byte, error) {
	m := map[string]uint64{}
	for i, n := range d {
		if n != 0 {
			m[Drop(i).String()] = n
		}
	}
	return json.Marshal(m)
}

// UnmarshalJSON reads what MarshalJSON wrote. Reasons that it does not know,
// of another version, are left out.
func (d *Drops) UnmarshalJSON(b []byte) error {
	var m map[string]uint64
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	for i := range d {
		d[i] = m[Drop(i).String()]
	}
	return nil
}

package report

// Words and sentences for values, by value.
var (
	accessWords = map[Access]string{
		AccessUnknown: "unknown", Open: "open", Firewall: "firewall, no NAT", NAT: "behind a NAT", Blocked: "UDP blocked",
	}
	accessSentences = map[Access]string{
		AccessUnknown: "It is not known what lies between this host and the Internet.",
		Open:          "This host has a public address, and anybody can reach it.",
		Firewall:      "This host has a public address, but only answers reach it.",
		NAT:           "A router gives this host's packets another address outside.",
		Blocked:       "No UDP packet gets out and back.",
	}
	silenceSentences = map[Silence]string{
		SilenceUnknown: "No server answered: UDP is blocked on the way, or the servers are gone. Another --server would tell.",
		UDPBlocked:     "UDP is stopped on the way to the server.",
		ServerDead:     "No server runs there. Another --server would tell more.",
	}
	kindWords = map[Kind]string{
		KindUnknown: "unknown abilities", RFC5780: "RFC 5780", RFC3489: "RFC 3489", TwoServers: "one of two servers",
		Single: "tells the external endpoint only", Teredo: "Teredo server",
	}
	mappingSentences = map[Behavior]string{
		BehaviorUnknown:         "It is not known whether everybody outside sees a socket at one endpoint.",
		EndpointIndependent:     "Everybody outside sees a socket of this host at one address and port: others can be told where to send.",
		AddressDependent:        "Each address outside sees a socket of this host at another port: what a server sees is of no use to a peer.",
		AddressAndPortDependent: "Each address and port outside sees a socket of this host at another port: what a server sees is of no use to a peer.",
		PortDependent:           "Each port outside sees a socket of this host at another port, whatever the address.",
		Dependent:               "Different servers see a socket of this host at different endpoints: what a server sees is of no use to a peer.",
	}
	filteringSentences = map[Behavior]string{
		BehaviorUnknown:         "It is not known who outside gets in.",
		EndpointIndependent:     "Anybody outside gets in where a socket of this host has sent anything to anybody.",
		AddressDependent:        "Only addresses that a socket of this host has sent to get in, from any port.",
		AddressAndPortDependent: "Only an address and port that a socket of this host has sent to gets in.",
		PortDependent:           "Only ports that a socket of this host has sent to get in, from any address.",
	}
	classicSentences = map[string]string{
		"open internet":          "Everything works.",
		"symmetric UDP firewall": "Peers get in once this host has sent to them.",
		"full cone":              "The easiest kind of NAT: peers get in at once.",
		"restricted cone":        "Peers get in once this host has sent to their address.",
		"port restricted cone":   "Peers get in once this host has sent to their address and port.",
		"symmetric":              "The hardest kind of NAT: peers cannot be told where this host will appear.",
		"UDP blocked":            "Nothing that needs UDP works.",
	}
)

func accessSentence(r *Report) string {
	switch {
	case r.Inside():
		return "The server is inside this network: nothing is known of what lies beyond."
	case r.NoNAT() && r.Access == AccessUnknown:
		return "This host has a public address; whether a firewall lets others in is not known."
	}
	return accessSentences[r.Access]
}

func classicSentence(r *Report) string {
	if name := r.Classic(); name != "" {
		return classicSentences[name]
	}
	if r.Inside() || r.Mapping == BehaviorUnknown || r.Filtering == BehaviorUnknown {
		return "Too little is known for a name."
	}
	return "RFC 3489 has no name for what was found."
}

// Teredo returns what the report means for a Teredo client here (RFC 4380 and
// RFC 6081), in one sentence.
func (r *Report) Teredo() string {
	switch {
	case r.Access == Blocked:
		return "Does not work: it needs UDP."
	case r.Silence != Answered || r.Inside() || r.Access == AccessUnknown && !r.NoNAT():
		return "Nothing can be said."
	case r.overIPv6():
		return "Needs IPv4, which was not probed. This host has IPv6 without it."
	case r.Access == Open:
		return "Works with everybody."
	case r.Mapping == EndpointIndependent && r.Filtering == EndpointIndependent:
		return "Works with everybody, without bubbles from here."
	case r.Mapping == EndpointIndependent:
		return "Works with peers behind any NAT; with RFC 6081 behind symmetric ones too, after a few seconds at worst."
	case r.Mapping == BehaviorUnknown:
		return "Works, unless the NAT turns out to be symmetric."
	case r.PortPreserving == Yes:
		return "A client of RFC 4380 gives up; one of RFC 6081 reaches everybody, since the NAT keeps the port numbers."
	}
	return "A client of RFC 4380 gives up; one of RFC 6081 reaches everybody but peers whose NAT is as symmetric as this one."
}

// RemoteAssistance returns what the report means for a session from or to
// here, in one sentence.
func (r *Report) RemoteAssistance() string {
	switch {
	case r.Access == Blocked:
		return "Works on this network only: ask for UDP to be let out."
	case r.Silence != Answered || r.Inside() || r.Access == AccessUnknown && !r.NoNAT():
		return "Nothing can be said."
	case r.overIPv6() && r.Access == Open:
		return "Works with everybody who has IPv6."
	case r.overIPv6() && r.Access == Firewall:
		return "Works with everybody who has IPv6, once both sides have sent."
	case r.Access == Open, r.Mapping == EndpointIndependent && r.Filtering == EndpointIndependent:
		return "Works with everybody whose network lets UDP out."
	case r.Mapping == EndpointIndependent && r.Filtering == AddressDependent:
		return "Works with everybody whose network lets UDP out, once both sides have sent."
	case r.Mapping == EndpointIndependent, r.PortPreserving == Yes && r.Mapping != BehaviorUnknown:
		return "Works with everybody whose network lets UDP out; behind some NATs it takes a few seconds."
	case r.Mapping == BehaviorUnknown:
		return "Works, unless both sides turn out to be symmetric."
	}
	s := "Works with everybody but peers whose NAT is as symmetric as this one; for those open a port with UPnP, NAT-PMP or PCP."
	if r.CGNAT == Yes {
		s = "Works with everybody but peers whose NAT is as symmetric as this one; a port mapping does not help behind the carrier's NAT, so let the other side open one."
	}
	return s
}

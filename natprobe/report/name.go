package report

// Classic returns the name that RFC 3489, 5 has for the NAT, or "" where it
// has none: what is unknown, and combinations that it did not think of, such
// as a mapping that depends on the destination behind a filter that lets
// everybody in. Of a mapping that depends on the destination the filter need
// not be known.
func (r *Report) Classic() string {
	if r.Inside() {
		return ""
	}
	switch r.Access {
	case Blocked:
		return "UDP blocked"
	case Open:
		return "open internet"
	case Firewall:
		return "symmetric UDP firewall"
	case NAT:
	default:
		return ""
	}
	switch r.Mapping {
	case EndpointIndependent:
		switch r.Filtering {
		case EndpointIndependent:
			return "full cone"
		case AddressDependent:
			return "restricted cone"
		case AddressAndPortDependent:
			return "port restricted cone"
		}
	case AddressDependent, AddressAndPortDependent, PortDependent, Dependent:
		if r.Filtering != EndpointIndependent && r.Filtering != PortDependent {
			return "symmetric"
		}
	}
	return ""
}

// Netsh returns the word that "netsh interface teredo show state" has for the
// NAT. It is "unknown" where a Teredo client could not tell either, as over
// IPv6, and
// "symmetric" alone, which netsh never says, where it is not known which.
func (r *Report) Netsh() string {
	switch {
	case r.Inside(), r.overIPv6():
		return "unknown"
	case r.NoNAT():
		return "none (global connectivity)"
	}
	switch r.Mapping {
	case EndpointIndependent:
		switch r.Filtering {
		case EndpointIndependent:
			return "cone"
		case AddressDependent:
			return "restricted"
		case AddressAndPortDependent, PortDependent:
			return "restricted (port)"
		}
	case AddressDependent:
		return "symmetric (address)"
	case AddressAndPortDependent, PortDependent:
		return "symmetric (port)"
	case Dependent:
		return "symmetric"
	}
	return "unknown"
}

package nat

import "time"

// profiles are in the order in which Profiles lists them. Where a name is only
// about mapping and filtering, the rest is what RFC 4787 recommends.
var profiles = []struct {
	name   string
	alias  string
	config Config
}{
	// The four of RFC 3489, 5.
	{"cone", "full-cone", Config{Hairpin: HairpinExternalSource, Refresh: RefreshBoth}},
	{"address-restricted", "restricted", Config{Filtering: AddressDependent, Hairpin: HairpinExternalSource, Refresh: RefreshBoth}},
	{"port-restricted", "restricted-port", Config{Filtering: AddressAndPortDependent, Hairpin: HairpinExternalSource, Refresh: RefreshBoth}},
	{"symmetric", "", Config{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Allocation: Random}},
	// Its milder cousins, which RFC 6081 can traverse.
	{"symmetric-address", "", Config{Mapping: AddressDependent, Filtering: AddressDependent, Allocation: Random}},
	{"symmetric-sequential", "", Config{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Allocation: Sequential}},
	{"symmetric-preserving", "", Config{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Overlap: true}},
	// Linux masquerading: the port is kept where its tuple is free, so it
	// looks endpoint-independent until two hosts collide; 30 s, and 120 s
	// after an answer (nf_conntrack_udp_timeout, _stream); TCP 5 days.
	{"linux", "masquerade", Config{
		Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Overlap: true,
		Lifetime: 30 * time.Second, LifetimeAnswered: 120 * time.Second, Refresh: RefreshBoth,
		TCPEstablished: 5 * 24 * time.Hour, TCPTransitory: 2 * time.Minute, ICMPLifetime: 30 * time.Second,
		Hairpin: HairpinNone,
	}},
	// A carrier's NAT as RFC 6888 wants it: few ports for each customer.
	{"carrier", "cgn", Config{Allocation: Random, Hairpin: HairpinExternalSource, MaxPerHost: 1024}},
	// A router that forgets after half a minute and only counts its own side.
	{"short-lived", "", Config{Filtering: AddressAndPortDependent, Lifetime: 30 * time.Second}},
	{"firewall", "", Config{NoTranslation: true, Filtering: AddressAndPortDependent, Refresh: RefreshBoth}},
	{"udp-blocked", "", Config{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Block: 17}},
	{"none", "open", Config{NoTranslation: true}},
}

// Profile returns a named configuration, without External and Seed; false if
// there is none of that name or alias.
func Profile(name string) (Config, bool) {
	for _, p := range profiles {
		if name != "" && (name == p.name || name == p.alias) {
			return p.config, true
		}
	}
	return Config{}, false
}

// Profiles returns the names that Profile knows, aliases left out.
func Profiles() []string {
	names := make([]string, len(profiles))
	for i, p := range profiles {
		names[i] = p.name
	}
	return names
}

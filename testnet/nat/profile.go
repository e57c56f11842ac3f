package nat

import "time"

// profiles are in the order in which Profiles lists them. Where a name is only
// about mapping and filtering, the rest is what RFC 4787 recommends.
//
// No profile claims to be a product: the names say which document describes
// the behaviour, or which software it is.
var profiles = []struct {
	name   string
	alias  string
	about  string
	config Config
}{
	// The four of RFC 3489, 5.
	{"cone", "full-cone", "RFC 3489's full cone: whoever knows the port gets in", Config{Hairpin: HairpinExternalSource, Refresh: RefreshBoth, Fragments: FragmentsAnyOrder}},
	{"address-restricted", "restricted", "RFC 3489's restricted cone: lets in addresses that were sent to", Config{Filtering: AddressDependent, Hairpin: HairpinExternalSource, Refresh: RefreshBoth, Fragments: FragmentsAnyOrder}},
	{"port-restricted", "restricted-port", "RFC 3489's port restricted cone: lets in endpoints that were sent to", Config{Filtering: AddressAndPortDependent, Hairpin: HairpinExternalSource, Refresh: RefreshBoth, Fragments: FragmentsAnyOrder}},
	{"symmetric", "", "RFC 3489's symmetric NAT: another port for each destination", Config{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Allocation: Random, Fragments: FragmentsAnyOrder}},
	// Its milder cousins, which RFC 6081 can traverse.
	{"symmetric-address", "", "another port for each address, which RFC 6081 can traverse", Config{Mapping: AddressDependent, Filtering: AddressDependent, Allocation: Random, Fragments: FragmentsAnyOrder}},
	{"symmetric-sequential", "", "another port for each destination, always the next one", Config{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Allocation: Sequential, Fragments: FragmentsAnyOrder}},
	{"symmetric-preserving", "", "a mapping for each destination, all on the same port", Config{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Overlap: true, Fragments: FragmentsAnyOrder}},
	// The one that really is symmetric: it keeps the port of the first mapping
	// only, since an external port serves one destination.
	{"symmetric-first", "", "keeps the port for the first destination only", Config{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Fragments: FragmentsAnyOrder}},
	// A symmetric one with a pool: the address changes too, which RFC 6081, 2
	// calls address-symmetric.
	{"symmetric-pooled", "", "another port and address for each destination (RFC 6081, 2)", Config{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Allocation: Random, ArbitraryPooling: true, Fragments: FragmentsAnyOrder}},
	// The two of RFC 6081 whose hosts may have a port forward.
	{"upnp-port-restricted", "", "port-restricted; a host may have a port forward (RFC 6081)", Config{Filtering: AddressAndPortDependent, Hairpin: HairpinExternalSource, Refresh: RefreshBoth, Fragments: FragmentsAnyOrder, Forwarding: true}},
	{"upnp-symmetric", "", "symmetric; a host may have a port forward (RFC 6081)", Config{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Allocation: Random, Fragments: FragmentsAnyOrder, Forwarding: true}},
	// Linux masquerading with an INPUT chain that drops: see linux below.
	{"linux", "masquerade", "Linux masquerading where INPUT drops, as the kernel does it", linux(false)},
	// The same with an INPUT chain that accepts: a stray packet is answered,
	// and leaves an entry that moves the next mapping. (One that rejects
	// answers too, but leaves nothing: linux with Reject.)
	{"linux-open-input", "", "the same where INPUT accepts: a stray packet moves the next mapping", linux(true)},
	// All that RFC 4787, 5382, 5508 and 7857 demand or recommend of a home
	// router.
	{"rfc4787", "behave", "what RFC 4787, 5382, 5508 and 7857 demand or recommend", Config{
		Filtering: EndpointIndependent, Hairpin: HairpinExternalSource, Refresh: RefreshBoth, Contiguity: true,
		UnsolicitedTCP: UnsolicitedDelayed, Refusal: RefuseProhibited, Fragments: FragmentsAnyOrder, RewriteID: true,
	}},
	// A simple home gateway as RFC 6092 recommends it for IPv6 and home
	// routers do it for IPv4: endpoint-independent mapping, a filter that
	// admits known addresses only, two minutes for UDP (REC-14).
	{"home", "", "a simple home gateway as RFC 6092 recommends", Config{
		Filtering: AddressDependent, Refresh: RefreshBoth, Lifetime: 2 * time.Minute,
		PortLifetimes: []PortLifetime{{53, 30 * time.Second}}, Fragments: FragmentsInOrder,
	}},
	// The common home router of the surveys behind RFC 4787, 5382 and 5780
	// that keeps ports, filters strictly, does not hairpin and forgets soon.
	{"home-strict", "", "filters strictly, does not hairpin, forgets soon", Config{
		Filtering: AddressAndPortDependent, Lifetime: 60 * time.Second, UnsolicitedTCP: UnsolicitedReset,
		TCPEstablished: time.Hour, TCPTransitory: time.Minute, ICMPLifetime: 30 * time.Second, Fragments: FragmentsInOrder,
	}},
	// A home router with the generic ALG that RFC 5780, 3.6 describes.
	{"home-alg", "", "rewrites addresses in payloads (RFC 5780, 3.6)", Config{
		Filtering: AddressAndPortDependent, Refresh: RefreshBoth, Hairpin: HairpinInternalSource, ALG: true,
		Lifetime: 3 * time.Minute, Fragments: FragmentsInOrder,
	}},
	// The NAT of RFC 4787, 4.2.1 that overloads ports: most programs fail
	// when two hosts use the same port.
	{"home-overloading", "", "gives one port to several hosts (RFC 4787, 4.2.1)", Config{
		Filtering: AddressAndPortDependent, Allocation: Overloading, Refresh: RefreshBoth,
	}},
	// A carrier's NAT as RFC 6888 wants it: paired, endpoint-independent, one
	// or more blocks of random ports for each customer, ports rested.
	{"cgn", "carrier", "a carrier's as RFC 6888 wants it: port blocks, ports that rest", Config{
		Allocation: Random, PortBlock: 512, MaxBlocks: 4, HostLimits: Limits{ICMP: 256}, HostRate: 500,
		Hairpin: HairpinExternalSource, Quarantine: 120 * time.Second, Refusal: RefuseUnreachable,
		Fragments: FragmentsAnyOrder, RewriteID: true,
	}},
	// A hotspot: many guests, few mappings each, everything short, and no way
	// between guests (RFC 6888, 2 describes the fairness it is after).
	{"hotel", "", "a hotspot: few mappings for each guest, all short, no fragments", Config{
		Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Allocation: Random,
		Lifetime: 30 * time.Second, MaxPerHost: 128, HostRate: 50,
		TCPEstablished: 15 * time.Minute, TCPTransitory: 30 * time.Second, ICMPLifetime: 10 * time.Second,
	}},
	// An enterprise's firewall: symmetric over a pool of addresses, strict,
	// silent, no ICMP errors, nothing opened from outside.
	{"enterprise", "", "a pool of addresses, nothing from outside, no ICMP errors, no Teredo", Config{
		Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Allocation: Random, ArbitraryPooling: true,
		TCPOutboundOnly: true, DropICMPErrors: true, Lifetime: 60 * time.Second, BlockPorts: []uint16{3544},
		TCPEstablished: time.Hour, TCPTransitory: 30 * time.Second, Refusal: RefuseProhibited, Fragments: FragmentsInOrder,
	}},
	// A router that forgets after half a minute and only counts its own side.
	{"short-lived", "", "forgets after half a minute unless something goes out", Config{Filtering: AddressAndPortDependent, Lifetime: 30 * time.Second, Fragments: FragmentsAnyOrder}},
	{"firewall", "", "translates nothing, lets answers in", Config{NoTranslation: true, Filtering: AddressAndPortDependent, Refresh: RefreshBoth, Fragments: FragmentsAnyOrder, OtherProtocols: true}},
	{"teredo-blocked", "", "port-restricted; drops UDP port 3544", Config{Filtering: AddressAndPortDependent, Refresh: RefreshBoth, BlockPorts: []uint16{3544}, Fragments: FragmentsAnyOrder}},
	{"udp-blocked", "", "drops UDP", Config{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Block: 17}},
	{"none", "open", "no NAT", Config{NoTranslation: true}},
}

// linux is masquerading by Linux's nf_nat with the defaults of
// nf_conntrack-sysctl: a flow keeps its port where the tuple is free, else one
// that its source already has, else a random one. So it looks
// endpoint-independent to most programs. UDP lives 30 s, and 120 s once
// answered and two seconds old; TCP five days.
func linux(openInput bool) Config {
	return Config{
		Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Overlap: true, ReuseSource: true,
		Lifetime: 30 * time.Second, LifetimeAnswered: 120 * time.Second, AnsweredAge: 2 * time.Second, Refresh: RefreshBoth,
		TCPEstablished: 5 * 24 * time.Hour, TCPTransitory: 2 * time.Minute, TCPClosing: 2 * time.Minute, TCPReset: 10 * time.Second,
		ICMPLifetime: 30 * time.Second, OtherProtocols: true, OtherLifetime: 10 * time.Minute,
		Hairpin: HairpinNone, Fragments: FragmentsAnyOrder,
		EarlyInbound: openInput, Reject: openInput,
	}
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

// Description returns a line about a named configuration; "" if there is none
// of that name.
func Description(name string) string {
	for _, p := range profiles {
		if name == p.name {
			return p.about
		}
	}
	return ""
}

// Profiles returns the names that Profile knows, aliases left out.
func Profiles() []string {
	names := make([]string, len(profiles))
	for i, p := range profiles {
		names[i] = p.name
	}
	return names
}

package natprobe

import (
	"net/netip"
	"slices"
)

// Policy says to which addresses the prober may send when a server named them
// (OTHER-ADDRESS, CHANGED-ADDRESS). The zero Policy denies the ranges of
// [DeniedRanges], the host's own addresses and, for a probe from behind a NAT,
// its mapped address. No flag or environment variable weakens it.
type Policy struct {
	// Ranges replaces DeniedRanges if it is not nil. It exists for tests on
	// loopback.
	Ranges []netip.Prefix
	// Own are further addresses of this host.
	Own []netip.Addr
	// Inside are the attached subnets, and other prefixes that lie inside.
	Inside []netip.Prefix
}

// DeniedRanges returns the ranges that no server can send the prober to: what
// is private, shared, local, multicast or reserved in either family. The
// documentation ranges and 198.18.0.0/15 are not among them: nothing routes
// those, and laboratories live there.
func DeniedRanges() []netip.Prefix {
	ranges := []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
		"172.16.0.0/12", "192.0.0.0/24", "192.88.99.0/24", "192.168.0.0/16",
		"224.0.0.0/4", "240.0.0.0/4",
		"::/8", "64:ff9b::/96", "2001::/32", "2002::/16", "fc00::/7", "fe80::/9", "ff00::/8",
	}
	out := make([]netip.Prefix, len(ranges))
	for i, s := range ranges {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// compile returns a copy of p with its defaults filled in.
func (p Policy) compile() Policy {
	if p.Ranges == nil {
		p.Ranges = DeniedRanges()
	}
	p.Ranges, p.Own, p.Inside = slices.Clone(p.Ranges), slices.Clone(p.Own), slices.Clone(p.Inside)
	return p
}

// permits reports whether a packet may be sent to ap.
func (p *Policy) permits(ap netip.AddrPort) bool {
	ip := ap.Addr()
	return quietPort(ap.Port()) && p.outside(ip) && !slices.ContainsFunc(p.Ranges, contains(ip))
}

// permitsExternal is permits for what a server calls this host's own external
// endpoint. Behind two NATs that is private or shared space; it is never in a
// network that this host is attached to.
func (p *Policy) permitsExternal(ap netip.AddrPort) bool {
	ip := ap.Addr()
	return p.permits(ap) || quietPort(ap.Port()) && p.outside(ip) && (ip.IsPrivate() || shared.Contains(ip))
}

// outside reports whether ip is a plain address and neither this host's nor in
// one of its networks.
func (p *Policy) outside(ip netip.Addr) bool {
	return ip.IsValid() && !ip.Is4In6() && ip.Zone() == "" && !slices.Contains(p.Own, ip) && !slices.ContainsFunc(p.Inside, contains(ip))
}

func contains(ip netip.Addr) func(netip.Prefix) bool {
	return func(r netip.Prefix) bool { return r.Contains(ip) }
}

// shared is the address space of carriers' NATs (RFC 6598).
var shared = netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10)

// quietPort is false for ports where services answer strangers loudly.
func quietPort(port uint16) bool {
	const ssdp, wsDiscovery, mdns, memcached = 1900, 3702, 5353, 11211
	switch port {
	case ssdp, wsDiscovery, mdns, memcached:
		return false
	}
	return port >= 1024
}

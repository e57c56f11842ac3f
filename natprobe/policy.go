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

// permits reports whether a packet may be sent to ap. Services that answer
// strangers loudly live at low ports and a few others.
func (p *Policy) permits(ap netip.AddrPort) bool {
	const ssdp, wsDiscovery, mdns, memcached = 1900, 3702, 5353, 11211
	switch port := ap.Port(); port {
	case ssdp, wsDiscovery, mdns, memcached:
		return false
	default:
		if port < 1024 {
			return false
		}
	}
	ip := ap.Addr()
	within := func(r netip.Prefix) bool { return r.Contains(ip) }
	return ip.IsValid() && !ip.Is4In6() && ip.Zone() == "" && !slices.Contains(p.Own, ip) &&
		!slices.ContainsFunc(p.Ranges, within) && !slices.ContainsFunc(p.Inside, within)
}

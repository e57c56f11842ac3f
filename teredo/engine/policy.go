package engine

import (
	"net/netip"
	"slices"
)

// Policy says to which IPv4 addresses a machine may send when it learnt the
// address from a packet: out of a Teredo address, an origin indication or an
// advertisement. The zero Policy denies the ranges of [DeniedRanges]. A
// machine copies it; no flag or environment variable reads into it.
type Policy struct {
	// Ranges replaces the ranges of DeniedRanges if it is not nil. It exists
	// for tests on loopback.
	Ranges []netip.Prefix
	// Own are the host's own addresses.
	Own []netip.Addr
	// Inside are the attached subnets, and further prefixes that lie inside:
	// intranets with public numbers (CVE-2006-6264).
	Inside []netip.Prefix

	// For most addresses their first byte is the answer: those of Ranges, and of
	// all there is.
	ranged, any firstBytes
}

// DeniedRanges returns the ranges that no packet is sent to: those of RFC 4380,
// 5.2.4 and 100.64.0.0/10, 192.0.0.0/24 and 240.0.0.0/4. The documentation
// ranges and 198.18.0.0/15 are not among them: nothing routes those, and
// laboratories live there.
func DeniedRanges() []netip.Prefix {
	ranges := []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
		"172.16.0.0/12", "192.0.0.0/24", "192.88.99.0/24", "192.168.0.0/16",
		"224.0.0.0/4", "240.0.0.0/4",
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
	} else {
		p.Ranges = slices.Clone(p.Ranges)
	}
	p.Own, p.Inside = slices.Clone(p.Own), slices.Clone(p.Inside)
	p.ranged = firstBytes{}
	for _, r := range p.Ranges {
		p.ranged.add(r)
	}
	p.any = p.ranged
	for _, r := range p.Inside {
		p.any.add(r)
	}
	for _, ip := range p.Own {
		p.any.add(netip.PrefixFrom(ip, ip.BitLen()))
	}
	return p
}

// firstBytes has a bit for each first byte of an IPv4 address.
type firstBytes [4]uint64

// add adds those of the addresses in r.
func (f *firstBytes) add(r netip.Prefix) {
	if !r.IsValid() || !r.Addr().Is4() {
		return // contains no IPv4 address
	}
	first := int(r.Masked().Addr().As4()[0])
	for i := first; i < first+1<<max(0, 8-r.Bits()); i++ {
		f[i/64] |= 1 << (i % 64)
	}
}

// has reports whether the first byte of ip, an IPv4 address, is there.
func (f *firstBytes) has(ip netip.Addr) bool {
	first := ip.As4()[0]
	return f[first/64]>>(first%64)&1 != 0
}

// unicast reports whether ip is an IPv4 address outside the denied ranges.
func (p *Policy) unicast(ip netip.Addr) bool {
	if !ip.Is4() {
		return false
	}
	if !p.ranged.has(ip) {
		return true
	}
	for _, r := range p.Ranges {
		if r.Contains(ip) {
			return false
		}
	}
	return true
}

// permits reports whether a packet may be sent to ip.
func (p *Policy) permits(ip netip.Addr) bool {
	if ip.Is4() && !p.any.has(ip) {
		return true
	}
	if !p.unicast(ip) || slices.Contains(p.Own, ip) {
		return false
	}
	for _, r := range p.Inside {
		if r.Contains(ip) {
			return false
		}
	}
	return true
}

// portPermitted reports whether a peer that has not proved itself may be sent
// to at this port. Services that answer strangers live at the others.
func portPermitted(port uint16) bool {
	const ssdp, wsDiscovery, mdns, memcached = 1900, 3702, 5353, 11211
	switch port {
	case ssdp, wsDiscovery, mdns, memcached:
		return false
	}
	return port >= 1024
}

// permitsNew reports whether an unproven peer at ap may be sent to, and if
// not, why.
func (p *Policy) permitsNew(ap netip.AddrPort) (Drop, bool) {
	switch {
	case !p.permits(ap.Addr()):
		return DropDenied, false
	case !portPermitted(ap.Port()):
		return DropDeniedPort, false
	}
	return 0, true
}

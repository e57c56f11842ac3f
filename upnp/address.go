package upnp

import "net/netip"

// verdict is what an external address is good for.
type verdict uint8

const (
	unusable verdict = iota // no address of anything
	inner                   // private or a carrier's: there is another NAT
	public
)

// judge says what an address is good for that a router calls its external one.
// The documentation ranges and 198.18.0.0/15 count as public: nothing routes
// them, and laboratories live there. onLink is the network between us and the
// router, where no external address can be.
func judge(ip netip.Addr, onLink netip.Prefix) verdict {
	ip = ip.Unmap()
	if !ip.IsValid() || ip.Zone() != "" || onLink.IsValid() && ip.Is4() && onLink.Contains(ip) {
		return unusable
	}
	for _, r := range ranges() {
		if r.prefix.Contains(ip) {
			return r.verdict
		}
	}
	if ip.Is6() {
		return unusable // outside 2000::/3
	}
	return public
}

type addressRange struct {
	prefix  netip.Prefix
	verdict verdict
}

// ranges are those of RFC 4380, 5.2.4, with the shared, protocol and reserved
// blocks of IANA's registry, and IPv6's one global unicast block.
func ranges() []addressRange {
	p := netip.MustParsePrefix
	return []addressRange{
		{p("10.0.0.0/8"), inner},
		{p("172.16.0.0/12"), inner},
		{p("192.168.0.0/16"), inner},
		{p("100.64.0.0/10"), inner}, // RFC 6598
		{p("0.0.0.0/8"), unusable},
		{p("127.0.0.0/8"), unusable},
		{p("169.254.0.0/16"), unusable},
		{p("192.0.0.0/24"), unusable},
		{p("192.88.99.0/24"), unusable},
		{p("224.0.0.0/4"), unusable},
		{p("240.0.0.0/4"), unusable},
		{p("2000::/3"), public},
	}
}

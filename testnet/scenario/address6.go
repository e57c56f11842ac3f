package scenario

import (
	"net/netip"

	"shipworm/testnet/firewall"
)

// hostAddresses reads the addresses of a host, of both families.
func (p *parser) hostAddresses(n *Node, s *section) {
	const want = `the IPv4 or IPv6 address of one host, such as "192.0.2.1" or "2001:db8::1"`
	addrs, at := s.addressesOf("address", want, func(a netip.Addr) bool {
		return a.Is4() && plainIPv4(a) || a.Is6() && a.Zone() == "" && !a.Is4In6() && !a.IsLinkLocalUnicast() && !a.IsLoopback()
	})
	for i, a := range addrs {
		if a.Is4() {
			n.Addrs, n.addrsAt = append(n.Addrs, a), append(n.addrsAt, at[i])
		} else {
			n.Addrs6, n.addrs6At = append(n.Addrs6, a), append(n.addrs6At, at[i])
		}
	}
}

// prefix reads the IPv6 of a router's network.
func (p *parser) prefix(n *Node, s *section) {
	text, at, ok := s.text("prefix")
	if ok {
		prefix, err := netip.ParsePrefix(text)
		if err != nil || !prefix.Addr().Is6() || prefix.Bits() < 16 || prefix.Bits() > 64 || prefix != prefix.Masked() ||
			prefix.Addr().IsMulticast() || prefix.Addr().IsLinkLocalUnicast() || prefix.Addr().Is4In6() {
			p.add(at, "prefix %q: want an IPv6 network of 16 to 64 bits, such as \"2001:db8:a::/64\"", text)
		} else {
			n.Prefix, n.prefixAt = prefix, at
		}
	}
	kind, at, given := s.text("firewall6")
	if !given {
		kind = "default-deny"
	}
	n.Firewall, ok = firewall.Named(kind)
	switch {
	case given && s.find("prefix") == nil:
		p.add(at, "%s has a firewall6 and no IPv6: want prefix too", n.Name)
	case given && !ok:
		p.add(at, "firewall6 = %q: want \"default-deny\" or \"none\"", kind)
	}
}

// address6 checks the IPv6 of the file, and gives hosts behind a router that has
// it an address where they have none.
func (p *parser) address6() {
	taken := map[netip.Addr]owner{}
	for i, n := range p.s.Nodes {
		if !n.Prefix.IsValid() {
			continue
		}
		taken[n.Prefix.Addr().Next()] = owner{n, n.prefixAt}
		switch up := n.Behind; {
		case up == nil:
		case !up.Prefix.IsValid():
			p.add(n.prefixAt, "%s is behind %s, which has no IPv6: want prefix there", n.Name, up.Name)
		case !up.Prefix.Contains(n.Prefix.Addr()) || up.Prefix.Bits() > n.Prefix.Bits():
			p.add(n.prefixAt, "the prefix %v is not on the network of %s: want a part of %v", n.Prefix, up.Name, up.Prefix)
		}
		for _, m := range p.s.Nodes[:i] {
			if m.Prefix.IsValid() && m.Prefix.Overlaps(n.Prefix) && !m.above(n) && !n.above(m) || m.Prefix == n.Prefix {
				p.add(n.prefixAt, "the prefix %v overlaps that of %s (line %d): want another", n.Prefix, m.Name, m.prefixAt.line)
			}
		}
	}
	for _, n := range p.s.Nodes {
		for i, a := range n.Addrs6 {
			at := n.addrs6At[i]
			other, used := taken[a]
			switch router := p.routerOf(a); {
			case used && other.node.IsNAT():
				p.add(at, "the address %v is taken: it is the gateway of %s (line %d); want another", a, other.node.Name, other.at.line)
			case used:
				p.add(at, "the address %v is taken: it is of %s (line %d); want another", a, other.node.Name, other.at.line)
			case n.Behind != nil && !n.Behind.Prefix.IsValid():
				p.add(at, "%s is behind %s, which has no IPv6: want prefix there", n.Name, n.Behind.Name)
			case n.Behind != nil && !n.Behind.Prefix.Contains(a):
				p.add(at, "%v is not on the network of %s: want one of %v", a, n.Behind.Name, n.Behind.Prefix)
			case router != n.Behind:
				p.add(at, "%v is on the network of %s: want another one", a, router.Name)
			}
			taken[a] = owner{n, at}
		}
	}
	for _, n := range p.s.Nodes {
		if n.IsNAT() || n.Behind == nil || !n.Behind.Prefix.IsValid() || len(n.Addrs6) > 0 {
			continue
		}
		a := n.Behind.Prefix.Addr().Next().Next()
		for tries := 0; taken[a].node != nil || p.routerOf(a) != n.Behind; tries++ {
			if a = a.Next(); tries == len(p.s.Nodes) {
				p.add(n.at, "no IPv6 address for %s at the beginning of %v: want address", n.Name, n.Behind.Prefix)
				break
			}
		}
		n.Addrs6, taken[a] = []netip.Addr{a}, owner{n, n.at}
	}
}

// above reports whether the network of m is behind n, at any depth.
func (n *Node) above(m *Node) bool {
	for m = m.Behind; m != nil; m = m.Behind {
		if m == n {
			return true
		}
	}
	return false
}

// routerOf returns the router whose prefix is the longest that contains an
// address, or nil.
func (p *parser) routerOf(a netip.Addr) *Node {
	var best *Node
	for _, n := range p.s.Nodes {
		if n.Prefix.Contains(a) && (best == nil || n.Prefix.Bits() > best.Prefix.Bits()) {
			best = n
		}
	}
	return best
}

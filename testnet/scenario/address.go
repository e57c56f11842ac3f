package scenario

import (
	"net/netip"
)

// lanBits is the size of a LAN: that of the laboratory.
const lanBits = 24

// Ranges that addresses are taken from where the file names none. Those of the
// Internet are for documentation (RFC 5737).
var (
	poolHosts    = netip.MustParsePrefix("203.0.113.0/24")  // hosts on the Internet
	poolExternal = netip.MustParsePrefix("198.51.100.0/24") // NATs on the Internet
	poolHome     = netip.MustParsePrefix("192.168.0.0/16")  // LANs with hosts only (RFC 1918)
	poolCarrier  = netip.MustParsePrefix("100.64.0.0/10")   // LANs with NATs (RFC 6598)
	poolRouted   = netip.MustParsePrefix("198.18.0.0/15")   // LANs behind routers that do not translate (RFC 2544)
)

// owner is who has an address on a network, and where the file says so.
type owner struct {
	node *Node
	at   position
}

// book keeps the addresses of every network; nil is the Internet.
type book map[*Node]map[netip.Addr]owner

// address checks the addresses of the file and gives out the others.
func (p *parser) address() {
	p.lans()
	p.address6()
	b := book{nil: {}}
	for _, n := range p.s.Nodes {
		if n.IsNAT() {
			b[n] = map[netip.Addr]owner{n.Lan.Addr().Next(): {n, n.at}}
		}
	}
	for _, n := range p.s.Nodes {
		for i, a := range n.Addrs {
			p.claim(b, n, a, n.addrsAt[i])
		}
	}
	for _, n := range p.s.Nodes {
		if len(n.Addrs) > 0 || (n.IsNAT() && n.NAT.NoTranslation) {
			continue
		}
		if a, ok := p.free(b, n); ok {
			n.Addrs = []netip.Addr{a}
		}
	}
	p.hidden()
	for _, n := range p.s.Nodes {
		if n.IsNAT() && !n.NAT.NoTranslation {
			n.NAT.External = n.Addrs
			if err := n.NAT.Validate(); err != nil && len(n.Addrs) > 0 {
				p.add(n.at, "%s: %s", n.Name, clean(err, "nat: "))
			}
		}
	}
}

// lans gives every NAT a network, and checks those that the file names or that
// follow from the addresses of those behind.
func (p *parser) lans() {
	used := map[netip.Prefix]*Node{}
	for _, n := range p.s.Nodes {
		if !n.IsNAT() {
			continue
		}
		if !n.Lan.IsValid() {
			for _, m := range p.s.Nodes {
				if m.Behind == n && len(m.Addrs) > 0 {
					n.Lan = netip.PrefixFrom(m.Addrs[0], lanBits).Masked()
					break
				}
			}
		}
		// Two homes may well have the same private network; where nothing is
		// translated they share one world.
		if n.Lan.IsValid() && n.NAT.NoTranslation {
			if other := used[n.Lan]; other != nil {
				p.add(n.at, "%s and %s share the network %v, and nothing is translated: want two", other.Name, n.Name, n.Lan)
			}
		}
		if n.Lan.IsValid() {
			used[n.Lan] = n
		}
	}
	for _, n := range p.s.Nodes {
		if !n.IsNAT() || n.Lan.IsValid() {
			continue
		}
		pool := poolHome
		if n.NAT.NoTranslation {
			pool = poolRouted
		} else {
			for _, m := range p.s.Nodes {
				if m.Behind == n && m.IsNAT() {
					pool = poolCarrier
				}
			}
		}
		b := pool.Addr().As4()
		for third := 1; third < 256; third++ {
			b[2] = byte(third)
			lan := netip.PrefixFrom(netip.AddrFrom4(b), lanBits)
			if used[lan] == nil {
				n.Lan, used[lan] = lan, n
				break
			}
		}
		if !n.Lan.IsValid() {
			p.add(n.at, "no network left for %s: want at most 255 without an address", n.Name)
		}
	}
}

// claim notes an address that the file names, on the node's network and, where
// nothing is translated, on those above.
func (p *parser) claim(b book, n *Node, a netip.Addr, at position) {
	if in := n.Behind; in != nil && !in.Lan.Contains(a) {
		p.add(at, "%v is not on the network of %s: want one of %v", a, in.Name, in.Lan)
		return
	}
	for in := n.Behind; ; in = in.Behind {
		if other, ok := b[in][a]; ok {
			what := "of " + other.node.Name
			if other.node == in {
				what = "the gateway of " + in.Name
			}
			p.add(at, "the address %v is taken: it is %s (line %d); want another", a, what, other.at.line)
			return
		}
		b[in][a] = owner{n, at}
		if in == nil || !in.NAT.NoTranslation {
			return
		}
	}
}

// free returns an address for a node and notes it.
func (p *parser) free(b book, n *Node) (netip.Addr, bool) {
	pool := poolHosts
	switch {
	case n.Behind != nil:
		pool = n.Behind.Lan
	case n.IsNAT():
		pool = poolExternal
	}
	for a := pool.Addr().Next(); pool.Contains(a.Next()); a = a.Next() {
		if b.taken(n, a) {
			continue
		}
		p.claim(b, n, a, n.at)
		return a, true
	}
	p.add(n.at, "no address left for %s on %v: want at most 254", n.Name, pool)
	return netip.Addr{}, false
}

func (b book) taken(n *Node, a netip.Addr) bool {
	for in := n.Behind; ; in = in.Behind {
		if _, ok := b[in][a]; ok {
			return true
		}
		if in == nil || !in.NAT.NoTranslation {
			return false
		}
	}
}

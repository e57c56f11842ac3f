package scenario

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"shipworm/testnet/igd"
	"shipworm/testnet/nat"
)

// reserved are names that mean something already.
var reserved = []string{"internet", "localhost"}

// network reads hosts, NATs and adversaries, and gives addresses to those that
// have none.
func (p *parser) network(nats, hosts, adversaries []*entry) {
	tables := slices.Concat(nats, hosts, adversaries)
	slices.SortStableFunc(tables, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.at.line, b.at.line), cmp.Compare(a.at.column, b.at.column))
	})
	sections, harm := map[*Node]*section{}, map[*Adversary]*section{}
	taken := map[string]position{}
	for _, e := range tables {
		if !namePattern.MatchString(e.key) || slices.Contains(reserved, e.key) {
			p.add(e.at, "%q is no name of a node: %s, and not %s", e.key, nameWant, strings.Join(reserved, " or "))
			continue
		}
		if before, ok := taken[e.key]; ok {
			p.add(e.at, "the name %q is taken: line %d has it; want another", e.key, before.line)
			continue
		}
		taken[e.key] = e.at
		n, s := &Node{Name: e.key, at: e.at}, p.section(e.value.table)
		switch {
		case slices.Contains(nats, e):
			n.NAT = &nat.Config{}
		case slices.Contains(adversaries, e):
			kind, ok := p.adversaryKind(s)
			if !ok {
				continue
			}
			a := &Adversary{Name: e.key, Kind: kind, at: e.at}
			p.s.Adversaries, harm[a] = append(p.s.Adversaries, a), s
			if !kind.hosted() {
				continue
			}
			a.Node, n.Adversary = n, true
		}
		sections[n] = s
		p.s.Nodes = append(p.s.Nodes, n)
	}
	for _, n := range p.s.Nodes {
		p.wire(n, sections[n])
		if at, ok := taken[igdHost(n)]; ok && n.IGD.Name != "" {
			p.add(at, "the name %q is taken: it is of the host that opens the ports of %s; want another", igdHost(n), n.Name)
		}
	}
	for _, a := range p.s.Adversaries {
		p.adversary(a, harm[a])
	}
	if !p.loops() {
		p.address()
	}
}

// wire reads one node.
func (p *parser) wire(n *Node, s *section) {
	n.Behind, _ = p.node(s, "behind", "NAT")
	if n.Behind != nil {
		n.behindAt = s.find("behind").value.at
	}
	if t, ok := s.inline("link"); ok {
		n.line = t
		p.line(t)(&n.Line)
		if err := n.Line.Validate(); err != nil {
			p.add(t.at, "link: %s", clean(err, "link: "))
		}
	}
	if n.IsNAT() {
		p.nat(n, s)
	} else {
		p.hostAddresses(n, s)
		if n.Behind != nil && len(n.Addrs) > 1 {
			p.add(n.addrsAt[1], "%s has %d addresses: want one of IPv4 behind a NAT", n.Name, len(n.Addrs))
		}
	}
	if !n.Adversary {
		s.finish()
	}
}

// clean makes one line of a joined error, without its prefix.
func clean(err error, prefix string) string {
	return strings.ReplaceAll(strings.TrimPrefix(err.Error(), prefix), "\n", "; ")
}

// loops reports NATs that are behind themselves, each ring once.
func (p *parser) loops() bool {
	found := map[*Node]bool{}
	for _, n := range p.s.Nodes {
		seen, way := map[*Node]bool{}, n.Name
		for at := n; at.Behind != nil && !seen[at] && !found[at]; at = at.Behind {
			seen[at] = true
			way += " behind " + at.Behind.Name
			if at.Behind == n {
				p.add(n.behindAt, "%s is behind itself (%s): want a chain that ends on the Internet", n.Name, way)
				maps.Copy(found, seen)
			}
		}
	}
	return len(found) > 0
}

// nat reads what only NATs have.
func (p *parser) nat(n *Node, s *section) {
	profile, at, named := s.text("profile")
	path, pathAt, filed := s.text("file")
	cfg, ok := nat.Profile(profile)
	switch {
	case s.find("profile") != nil && s.find("file") != nil:
		p.add(s.find("file").at, "%s has both profile and file: want one of them", n.Name)
	case filed:
		c, err := p.load(path)
		if err != nil {
			p.add(pathAt, "%s", clean(err, "nat: profile: "))
		}
		c.External, c.Seed = nil, 0 // of the router where it was measured
		*n.NAT = c
	case named && !ok:
		p.add(at, "no such NAT: %q: %s", profile, oneOf(nat.Profiles()))
	case s.find("profile") == nil && s.find("file") == nil:
		p.add(s.at, "profile is missing: %s", oneOf(nat.Profiles()))
	default:
		*n.NAT = cfg
	}
	n.Addrs, n.addrsAt = s.addresses("external")
	if lan, at, ok := s.text("lan"); ok {
		prefix, err := netip.ParsePrefix(lan)
		if err != nil || !prefix.Addr().Is4() || prefix.Bits() != lanBits || prefix != prefix.Masked() {
			p.add(at, "lan %q: want an IPv4 network of 24 bits, such as \"192.168.1.0/24\"", lan)
		} else {
			n.Lan, n.lanAt = prefix, at
		}
	}
	p.prefix(n, s)
	if t, ok := s.inline("knobs"); ok {
		p.knobs(n.NAT, t)
	}
	if name, at, ok := s.text("igd"); ok {
		if n.IGD, ok = igd.Lookup(name); !ok {
			p.add(at, "no such mapping router: %q: %s", name, oneOf(igdNames()))
		} else if n.NAT.NoTranslation {
			p.add(at, "%s does not translate: want no igd", n.Name)
		}
	}
	if n.NAT.NoTranslation && len(n.Addrs) > 0 {
		p.add(n.addrsAt[0], "%s does not translate: want no external address", n.Name)
	}
}

package scenario

import (
	"net/netip"
	"slices"
	"time"

	"shipworm/testnet/igd"
)

// teredoPort is the port of a Teredo server. RFC 4380, 2.7.
const teredoPort = 3544

// instant reads a time at which something is to happen.
func (p *parser) instant(s *section, key string) time.Duration {
	d, ok := s.duration(key)
	if ok && d >= p.s.Limit {
		p.add(s.find(key).value.at, "%s = %v, and the run is over at %v: want an earlier time, or a later limit", key, d, p.s.Limit)
	}
	return d
}

// ports reports programs of ours that want the same port of a host.
func (p *parser) ports() {
	type socket struct {
		host *Node
		port uint16
	}
	taken := map[socket]*Program{}
	for _, g := range p.s.Programs {
		at := socket{g.Host, g.Port}
		switch {
		case g.Host == nil:
			continue
		case g.Kind == TeredoServer:
			at.port = teredoPort
		case g.Kind != UDPEcho:
			continue
		}
		if other := taken[at]; other != nil {
			p.add(g.at, "the UDP port %d of %s is taken: %s has it (line %d); want another port or host", at.port, g.Host.Name, other.Name, other.at.line)
			continue
		}
		taken[at] = g
	}
}

// needs are the keys of a line that say how, with those that say whether.
var needs = map[string]string{"burst": "loss", "hold": "reorder", "queue": "rate", "target": "codel", "interval": "codel"}

// idle reports keys of lines, and events, that change nothing.
func (p *parser) idle() {
	tables, unplugged := map[*Node][]*table{}, map[*Node]time.Duration{}
	for _, n := range p.s.Nodes {
		if n.line != nil {
			tables[n] = append(tables[n], n.line)
		}
	}
	for _, e := range p.s.Events {
		if e.set != nil {
			tables[e.Node] = append(tables[e.Node], e.set)
		}
		if before, ok := unplugged[e.Node]; e.Do == Unplug && (!ok || e.At < before) {
			unplugged[e.Node] = e.At
		}
	}
	for _, e := range p.s.Events {
		if since, ok := unplugged[e.Node]; e.Do == Replug && e.Node != nil && (!ok || since > e.At) {
			p.add(e.nodeAt, "%s is not unplugged then: want an event before that unplugs it", e.Node.Name)
		}
	}
	for n, list := range tables {
		has := map[string]bool{}
		for _, t := range list {
			for _, x := range t.entries {
				has[x.key] = true
			}
		}
		for _, t := range list {
			for _, x := range t.entries {
				if whether := needs[x.key]; n != nil && whether != "" && !has[whether] {
					p.add(x.at, "%s does nothing without %s: want both", x.key, whether)
				}
			}
		}
	}
}

// hidden reports networks behind NATs that have addresses of others on them:
// nobody behind the NAT could send to those.
func (p *parser) hidden() {
	for _, n := range p.s.Nodes {
		if !n.IsNAT() || !n.Lan.IsValid() {
			continue
		}
		at := n.at
		if n.lanAt != (position{}) {
			at = n.lanAt
		}
		for _, m := range p.s.Nodes {
			beside := m.Behind == nil || m.Behind == n.Behind
			i := slices.IndexFunc(m.Addrs, n.Lan.Contains)
			if beside && i >= 0 && !n.above(m) {
				p.add(at, "the network %v behind %s has the address %v of %s on it, which is outside: want another network", n.Lan, n.Name, m.Addrs[i], m.Name)
				break
			}
		}
	}
}

// plainIPv4 reports whether a host on any network may have the address.
func plainIPv4(a netip.Addr) bool {
	first := a.As4()[0]
	return first != 0 && first < 240 && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsMulticast() // RFC 6890
}

// igdNames returns the names of mapping routers.
func igdNames() []string {
	var names []string
	for _, x := range igd.Profiles() {
		names = append(names, x.Name)
	}
	return names
}

package report

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Redact is that of a new Redactor.
func (r *Report) Redact() *Report { return new(Redactor).Redact(r) }

// A Redactor hides the same things behind the same things in every report. The
// zero value is ready.
type Redactor struct {
	addrs map[netip.Addr]netip.Addr
	ports map[uint16]uint16
	given map[string]byte // how many of each range
}

// Redact returns a copy that tells nobody's address. Those of this host, its
// NAT, the routers on the way and the servers become others of the ranges for
// documentation, and what is inside stays recognisable as that; ports, but
// those of the servers, are counted from 1001. Servers lose their names.
func (s *Redactor) Redact(r *Report) *Report {
	if s.addrs == nil {
		s.addrs, s.ports, s.given = map[netip.Addr]netip.Addr{}, map[uint16]uint16{}, map[string]byte{}
	}
	c := *r
	c.Servers = slices.Clone(r.Servers)
	for i := range c.Servers {
		v := &c.Servers[i]
		s.ports[v.Addr.Port()], s.ports[v.Other.Port()] = v.Addr.Port(), v.Other.Port()
		v.Addr, v.Other, v.Name = s.endpoint(v.Addr), s.endpoint(v.Other), ""
	}
	c.Local, c.Mapped = s.endpoint(r.Local), s.endpoint(r.Mapped)
	c.Layers = slices.Clone(r.Layers)
	for i := range c.Layers {
		c.Layers[i].Addr = s.addr(c.Layers[i].Addr)
	}
	if r.Allocation.Next != 0 {
		c.Allocation.Next = s.port(r.Allocation.Next)
	}
	c.Evidence = slices.Clone(r.Evidence)
	for i := range c.Evidence {
		c.Evidence[i].Text = tokens.ReplaceAllStringFunc(c.Evidence[i].Text, s.token)
	}
	if r.IPv6 != nil {
		c.IPv6 = s.Redact(r.IPv6)
	}
	return &c
}

func (s *Redactor) endpoint(ap netip.AddrPort) netip.AddrPort {
	if !ap.IsValid() {
		return ap
	}
	return netip.AddrPortFrom(s.addr(ap.Addr()), s.port(ap.Port()))
}

func (s *Redactor) port(p uint16) uint16 {
	if _, ok := s.ports[p]; !ok {
		s.ports[p] = uint16(1001 + len(s.ports))
	}
	return s.ports[p]
}

// shared is the space between carriers and their customers (RFC 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

// addr hands out the addresses of a range one after the other.
func (s *Redactor) addr(a netip.Addr) netip.Addr {
	a = a.WithZone("")
	if !a.IsValid() || a.IsLoopback() || a.IsUnspecified() {
		return a
	}
	if out, ok := s.addrs[a]; ok {
		return out
	}
	base := "2001:db8::" // RFC 3849
	switch local := a.IsPrivate() || a.IsLinkLocalUnicast(); {
	case shared.Contains(a):
		base = "100.64.0.0"
	case a.Is4() && local:
		base = "10.0.0.0"
	case a.Is4():
		base = "192.0.2.0" // RFC 5737
	case local:
		base = "fd00::"
	}
	s.given[base]++
	b := netip.MustParseAddr(base).AsSlice()
	b[len(b)-1] = s.given[base]
	out, _ := netip.AddrFromSlice(b)
	s.addrs[a] = out
	return out
}

// tokens are what may be an endpoint, an address or a port in a line.
var tokens = regexp.MustCompile(`\[?[0-9A-Fa-f:.]*[0-9A-Fa-f:](%\w+)?(\]:[0-9]+)?`)

func (s *Redactor) token(t string) string {
	if ap, err := netip.ParseAddrPort(t); err == nil {
		return s.endpoint(ap).String()
	}
	if a, err := netip.ParseAddr(strings.Trim(t, "[:")); err == nil && strings.ContainsAny(t, ".:") {
		return strings.Replace(t, a.String(), s.addr(a).String(), 1)
	}
	if p, err := strconv.ParseUint(t, 10, 16); err == nil && s.ports[uint16(p)] != 0 {
		return strconv.Itoa(int(s.ports[uint16(p)]))
	}
	return t
}

package scenario

import (
	"math"
	"net/netip"
	"strings"
	"time"

	"shipworm/testnet/firewall"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

// subjects of expectations, by the key that tells them.
var subjects = [...]string{OfProgram: "program", OfQualified: "qualified", OfReachable: "reachable", OfDrops: "dropped"}

func (p *parser) expectations(tables []*table) {
	for _, t := range tables {
		s := p.section(t)
		x := &Expectation{Line: t.at.line}
		found := 0
		for of, key := range subjects {
			if s.find(key) != nil {
				x.Of = Subject(of)
				found++
			}
		}
		if found != 1 {
			p.add(t.at, "an expectation is about one thing: want one of the keys %s", strings.Join(subjects[:], ", "))
			continue
		}
		switch x.Of {
		case OfProgram:
			p.ofProgram(x, s)
		case OfQualified:
			p.ofQualified(x, s)
		case OfReachable:
			p.ofReachable(x, s)
		case OfDrops:
			p.ofDrops(x, s)
		}
		s.finish()
		p.s.Expectations = append(p.s.Expectations, x)
	}
}

func (p *parser) ofProgram(x *Expectation, s *section) {
	x.Program, _ = p.programNamed(s, "program")
	x.Exit = whole(s, "exit", 0, 255)
	x.Answers = whole(s, "answers", 0, math.MaxInt32)
	x.Lost = whole(s, "lost", 0, math.MaxInt32)
	bounds := 0
	for _, d := range []struct {
		key string
		to  *time.Duration
	}{
		{"latency_min", &x.LatencyMin}, {"latency_max", &x.LatencyMax},
		{"median_min", &x.MedianMin}, {"median_max", &x.MedianMax},
	} {
		if v, ok := s.duration(d.key); ok {
			*d.to = v
			bounds++
		}
	}
	x.Output, _, _ = s.text("output")
	if len(s.entries) < 2 {
		p.add(s.at, "nothing is expected of the program: want one of the keys %s", strings.Join(s.known[1:], ", "))
	}
	g := x.Program
	if g == nil {
		return
	}
	if !g.ends() && x.Exit != nil {
		p.add(s.find("exit").at, "%s does not end by itself: want no exit code", g.Name)
	}
	pings := g.Kind == TeredoPing || g.Kind == UDPPing
	if !pings && (x.Answers != nil || x.Lost != nil || bounds > 0) {
		p.add(s.at, "%s is no ping: want no answers, lost packets or times", g.Name)
	}
	if g.Kind != Other && x.Output != "" {
		p.add(s.find("output").at, "%s is our own program: output is for programs under exec", g.Name)
	}
}

// whole reads an optional whole number.
func whole(s *section, key string, low, high int64) *int {
	n, ok := s.integer(key, low, high)
	if !ok {
		return nil
	}
	v := int(n)
	return &v
}

func (p *parser) ofQualified(x *Expectation, s *section) {
	x.Host, _ = p.node(s, "qualified", "host")
	if x.Host != nil && !p.runs(x.Host, TeredoClient) {
		p.add(s.find("qualified").value.at, "no program on %s is a teredo-client: want one there", x.Host.Name)
	}
	p.window(x, s)
	text, at, ok := s.text("mapped")
	if !ok {
		return
	}
	for _, n := range p.s.Nodes {
		if n.Name == text && n.IsNAT() {
			x.Mapped = n
			return
		}
	}
	if a, err := netip.ParseAddr(text); err == nil {
		x.MappedAddr = netip.AddrPortFrom(a, 0)
	} else if ap, err := netip.ParseAddrPort(text); err == nil {
		x.MappedAddr = ap
	} else {
		p.add(at, "mapped = %q: want a NAT, an IPv4 address, or one with a port; NATs are %s", text, strings.Join(p.names(isNAT), ", "))
	}
}

// window reads when something must happen.
func (p *parser) window(x *Expectation, s *section) {
	p.need(s, "within", "the time that it may take")
	x.Within, _ = s.duration("within")
	x.Since = -1
	if s.find("since") != nil {
		x.Since = p.instant(s, "since")
	}
	if end := max(x.Since, 0) + x.Within; end > p.s.Limit {
		p.add(s.find("within").value.at, "within %v, which is until %v, and the run is over at %v: want less time, or a later limit", x.Within, end, p.s.Limit)
	}
}

func (p *parser) ofReachable(x *Expectation, s *section) {
	x.Host, _ = p.node(s, "reachable", "host")
	p.need(s, "from", "the host that pings it")
	x.From, _ = p.node(s, "from", "host")
	p.window(x, s)
	if x.Host == nil || x.From == nil {
		return
	}
	for _, g := range p.s.Programs {
		if g.Host == x.From && g.To == x.Host {
			return
		}
	}
	p.add(s.at, "no program on %s pings %s: want a teredo-ping or udp-ping", x.From.Name, x.Host.Name)
}

func (p *parser) ofDrops(x *Expectation, s *section) {
	var at position
	x.Reason, at, _ = s.text("dropped")
	if all := p.reasons(); !containsAny(all, x.Reason) {
		p.add(at, "no packet is ever dropped with the reason %q: want words of one that shipworm testnet list --drops has, or of a black hole's", x.Reason)
	}
	x.Where, _ = p.node(s, "at", "host or NAT")
	x.Min = 1
	low, okLow := s.integer("min", 0, math.MaxInt64)
	if okLow {
		x.Min = uint64(low)
	}
	if high, ok := s.integer("max", 0, math.MaxInt64); ok {
		v := uint64(high)
		x.Max = &v
		if !okLow {
			x.Min = 0
		}
		if v < x.Min {
			p.add(s.find("max").value.at, "max = %d is below min = %d: want no less than that", v, x.Min)
		}
	}
}

func containsAny(list []string, part string) bool {
	for _, s := range list {
		if strings.Contains(s, part) {
			return true
		}
	}
	return false
}

// reasons returns why packets of this file are dropped.
func (p *parser) reasons() []string {
	all := DropReasons()
	for _, a := range p.s.Adversaries {
		if a.Kind == BlackHole {
			all = append(all, "swallowed by "+a.Name)
		}
	}
	return all
}

// netReasons are those that testnet/sim has for drops of its own.
var netReasons = []string{
	"too many packets in flight", "no host has this address", "multicast does not leave a LAN",
	"nobody else is on this LAN",
	"time to live exceeded", "destination is on the network it came from", "no socket on this port",
	"delivered to a host that has not this address", "the other fragments did not come", "wrong UDP checksum",
	"not a well-formed IPv6 packet", "no IPv6 prefix is delegated", "a link-local address does not leave its link",
	"the source is on the other side of the router",
}

// DropReasons returns why packets are dropped: all reasons that a dropped
// expectation may name, but for those of black holes, which have their name.
func DropReasons() []string {
	var all []string
	for r := nat.Malformed; ; r++ {
		if strings.HasPrefix(r.String(), "reason ") {
			break
		}
		all = append(all, r.String())
	}
	for r := link.Lost; ; r++ {
		if strings.HasPrefix(r.String(), "reason ") {
			break
		}
		all = append(all, r.String())
	}
	for r := firewall.Unsolicited; !strings.HasPrefix(r.String(), "reason "); r++ {
		all = append(all, r.String())
	}
	return append(all, netReasons...)
}

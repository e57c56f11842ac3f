package scenario

import (
	"net/netip"
	"strings"
	"time"

	"shipworm/testnet/link"
)

// verbs of events, with the sort of node that each wants.
var verbs = []struct {
	action Action
	sort   string
}{
	{Reboot, "NAT"}, {Readdress, "NAT"}, {Unplug, "host or NAT"}, {Replug, "host or NAT"}, {Change, "host or NAT"},
}

func (p *parser) events(tables []*table) {
	spare := netip.MustParseAddr("198.51.100.254")
	for _, t := range tables {
		s := p.section(t)
		e := &Event{line: t.at.line}
		p.need(s, "at", "the time of the event")
		e.At = p.instant(s, "at")
		if !p.verb(e, s) {
			continue
		}
		if e.Do != Readdress && e.Do != Replug {
			e.Until = p.until(s, e.At)
		}
		switch e.Do {
		case Readdress:
			p.readdress(e, s, &spare)
		case Change:
			p.change(e, s)
		}
		s.finish()
		p.s.Events = append(p.s.Events, e)
	}
}

// until reads when something that begins at a time is undone; 0 = never.
func (p *parser) until(s *section, at time.Duration) time.Duration {
	until, ok := s.duration("until")
	if ok && until <= at {
		p.add(s.find("until").value.at, "until = %v is not after at = %v: want a later time", until, at)
	} else if ok && until > p.s.Limit {
		p.add(s.find("until").value.at, "until = %v, and the run is over at %v: want an earlier time, or a later limit", until, p.s.Limit)
	}
	return until
}

// verb finds out what the event does. False if that cannot be told.
func (p *parser) verb(e *Event, s *section) bool {
	var names []string
	found := 0
	for _, v := range verbs {
		names = append(names, v.action.String())
		if s.find(v.action.String()) == nil {
			continue
		}
		if found++; found > 1 {
			p.add(s.find(v.action.String()).at, "an event does one thing, and this is the second: want another [[event]]")
			return false
		}
		e.Do = v.action
	}
	if found == 0 {
		p.add(s.at, "the event does nothing: want one of the keys %s", strings.Join(names, ", "))
		return false
	}
	if e.Node, _ = p.node(s, e.Do.String(), verbs[e.Do].sort); e.Node != nil {
		e.nodeAt = s.find(e.Do.String()).value.at
	}
	return true
}

// readdress finds the new addresses: as many as before where the file names
// none, from the end of the range.
func (p *parser) readdress(e *Event, s *section, spare *netip.Addr) {
	var at []position
	e.To, at = s.addresses("to")
	n := e.Node
	switch {
	case n == nil:
		return
	case n.NAT.NoTranslation:
		p.add(s.find(Readdress.String()).value.at, "%s does not translate: it has no external address; want a NAT that does", n.Name)
		return
	case len(e.To) == 0 && n.Behind != nil:
		b := n.Behind.Lan.Addr().As4()
		b[3] = spare.As4()[3]
		e.To = []netip.Addr{netip.AddrFrom4(b)}
		*spare = spare.Prev()
	case len(e.To) == 0:
		e.To = []netip.Addr{*spare}
		*spare = spare.Prev()
	}
	for i, a := range e.To {
		where := s.at
		if i < len(at) {
			where = at[i]
		}
		if n.Behind != nil && !n.Behind.Lan.Contains(a) {
			p.add(where, "%v is not on the network of %s: want one of %v", a, n.Behind.Name, n.Behind.Lan)
		}
		for _, m := range p.s.Nodes {
			if m == n || m.Behind != n.Behind {
				continue
			}
			for _, other := range m.Addrs {
				if other == a {
					p.add(where, "the address %v is taken: it is of %s; want another", a, m.Name)
				}
			}
		}
	}
}

func (p *parser) change(e *Event, s *section) {
	p.need(s, "set", "what of the line changes, such as { loss = 0.3 }")
	t, ok := s.inline("set")
	if !ok {
		return
	}
	e.Set, e.set = p.line(t), t
	if e.Node == nil {
		return
	}
	line := e.Node.Line
	e.Set(&line)
	if err := line.Validate(); err != nil {
		p.add(t.at, "set: %s", clean(err, "link: "))
	}
	if e.Set == nil {
		e.Set = func(*link.Config) {}
	}
}

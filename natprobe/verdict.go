package natprobe

import "shipworm/natprobe/report"

// interrupted is why what a run did not come to is unknown.
const interrupted = "the probe was interrupted"

// mappingVerdict names the mapping behaviour, and what it rests on or what is
// in the way of naming it.
func (m *machine) mappingVerdict() (report.Behavior, string) {
	x11 := m.m1.mapped()
	x21, x22, cross := m.m21.mapped(), m.m22.mapped(), m.cross.mapped()
	switch {
	case m.translated() == report.No:
		return report.EndpointIndependent, "no address is translated"
	case !m.mappingOver && !m.ended:
		return report.BehaviorUnknown, interrupted
	case !x11.IsValid():
		return report.BehaviorUnknown, "no answer"
	case !m.a2.IsValid() && cross == x11:
		return report.EndpointIndependent, "two servers see the same endpoint"
	case !m.a2.IsValid() && cross.IsValid():
		return report.Dependent, "two servers see different endpoints"
	case !m.a2.IsValid() && m.cross != nil:
		return report.BehaviorUnknown, "the second server does not answer"
	case !m.a2.IsValid():
		return report.BehaviorUnknown, "one server with one address cannot tell"
	case !x21.IsValid() || !x22.IsValid():
		return report.BehaviorUnknown, "the server's other address does not answer"
	}
	switch b, _ := m.pattern(); b {
	case report.EndpointIndependent:
		if cross.IsValid() && cross != x11 {
			return report.BehaviorUnknown, "the server's addresses see one endpoint, but the second server another"
		}
		return b, "the server's addresses and ports see one endpoint"
	case report.AddressDependent:
		return b, "each address of the server sees another endpoint"
	case report.PortDependent:
		return b, "each port of the server sees another endpoint, its addresses the same"
	case report.AddressAndPortDependent:
		return b, "addresses and ports of the server see different endpoints"
	}
	if !m.m12.mapped().IsValid() {
		return report.BehaviorUnknown, "the server's other port does not answer"
	}
	return report.BehaviorUnknown, "the endpoints that the server sees follow no rule"
}

// pattern compares the endpoints that the server sees of socket M. Not clear
// is what one stray packet can make of a mapping that depends on nothing.
func (m *machine) pattern() (b report.Behavior, clear bool) {
	x11, x12, x21, x22 := m.m1.mapped(), m.m12.mapped(), m.m21.mapped(), m.m22.mapped()
	switch {
	case !m.a2.IsValid() || !x11.IsValid() || !x21.IsValid() || !x22.IsValid():
		return report.BehaviorUnknown, true
	case x11 == x21 && x11 == x22:
		return report.EndpointIndependent, true
	case x11 == x12 && x21 == x22:
		return report.AddressDependent, true
	case x11 == x21 && x12 == x22:
		return report.PortDependent, false
	case x11 != x12 && x11 != x21 && x11 != x22 && x12 != x21 && x12 != x22 && x21 != x22:
		return report.AddressAndPortDependent, true
	}
	return report.BehaviorUnknown, false
}

// filteringVerdict names the filtering behaviour, and what it rests on or what
// is in the way of naming it. What is not open needs a control: silence alone
// may be the server's.
func (m *machine) filteringVerdict() (report.Behavior, string) {
	switch {
	case !m.judged && !m.ended:
		return report.BehaviorUnknown, interrupted
	case !m.judged:
		return report.BehaviorUnknown, "no answer"
	case !m.a2.IsValid() && m.reject != "":
		return report.BehaviorUnknown, "the other address that the server names " + m.reject
	case !m.a2.IsValid():
		return report.BehaviorUnknown, "the server has no other address"
	case m.spare != nil && m.cfg.Servers[1].Addr() == m.a2.Addr():
		return report.BehaviorUnknown, "the other address of the server had been asked before"
	case m.f2.reply != nil:
		return report.EndpointIndependent, "an answer came from an address that nothing was sent to"
	case !m.extras.begun && !m.ended:
		return report.BehaviorUnknown, interrupted // the control is not over
	case m.f2.lie || m.f3.lie || m.c2 != nil && m.c2.lie || m.c3 != nil && m.c3.lie:
		return report.BehaviorUnknown, "the server does not answer from where it is asked to"
	case m.f2.code != 0:
		return report.BehaviorUnknown, "the server refuses to answer from another address"
	case m.f2.late || m.f3.late && m.f3.reply == nil, m.hasty(m.f2, m.c2), m.hasty(m.f3, m.c3):
		return report.BehaviorUnknown, "answers came after the time for them"
	case m.chance(m.f2) > doubtful, m.f3.reply == nil && m.chance(m.f3) > doubtful:
		return report.BehaviorUnknown, "too much got lost to tell silence from a filter"
	case m.c2 == nil || m.c2.reply == nil:
		return report.BehaviorUnknown, "no sign that the server's other address can be heard"
	case m.f3.reply != nil:
		return report.AddressDependent, "answers come in from another port, but not from another address until it is sent to"
	case m.f3.code != 0 || m.c3 == nil || m.c3.reply == nil:
		return report.BehaviorUnknown, "no sign that the server's other port can be heard"
	}
	return report.AddressAndPortDependent, "answers come in only from the address and port that were sent to"
}

// hasty reports whether the control took longer than half of the silent copies
// were waited for.
func (m *machine) hasty(silent, control *ask) bool {
	return control != nil && control.reply != nil && len(silent.sent) > 0 &&
		control.took > m.judgedAt.Sub(silent.sent[len(silent.sent)/2].at)
}

// earlyInbound reports whether socket F, to which the server's other address
// sent first, has another mapping to there: Linux remembers such packets.
func (m *machine) earlyInbound() report.Verdict {
	f1, f22 := m.f1.mapped(), m.f22.mapped()
	if b, _ := m.mappingVerdict(); b != report.EndpointIndependent || m.f22 == nil {
		return report.NotTested
	}
	if !f1.IsValid() || !f22.IsValid() {
		return report.Unknown
	}
	return report.Is(f1 != f22)
}

// access sums up what lies in front of this host.
func (m *machine) access(filtering report.Behavior) (report.Access, report.Silence) {
	switch m.translated() {
	case report.Yes:
		return report.NAT, report.Answered
	case report.No:
		switch filtering {
		case report.EndpointIndependent:
			return report.Open, report.Answered
		case report.BehaviorUnknown:
			return report.AccessUnknown, report.Answered
		}
		return report.Firewall, report.Answered
	}
	switch {
	case !m.ended:
		return report.AccessUnknown, report.SilenceUnknown
	case m.refused == report.ServerDead:
		return report.AccessUnknown, report.ServerDead
	case m.tcp == tcpOpen, m.refused == report.UDPBlocked:
		return report.Blocked, report.UDPBlocked
	case len(m.cfg.Servers) > 1:
		return report.Blocked, report.SilenceUnknown
	}
	return report.AccessUnknown, report.SilenceUnknown
}

package natprobe

import (
	"net/netip"

	"shipworm/natprobe/report"
)

// report returns what the run found.
func (m *machine) report() *report.Report {
	r := &report.Report{Time: m.began, Duration: report.Duration(m.now.Sub(m.began)), Interrupted: !m.ended}
	if r.Interrupted {
		m.extras.dropUnfinished()
	}
	r.Local, r.Mapped = m.mSock.local, m.m1.mapped()
	if !r.Mapped.IsValid() && m.f1.mapped().IsValid() {
		r.Local, r.Mapped = m.fSock.local, m.f1.mapped()
	}
	m.reportServers(r)
	var why string
	r.Mapping, why = m.mappingVerdict()
	r.Note("mapping", why)
	r.Filtering, why = m.filteringVerdict()
	r.Note("filtering", why)
	r.Access, r.Silence = m.access(r.Filtering)
	if r.Silence != report.Answered && m.ended {
		switch m.tcp {
		case tcpOpen:
			r.Note("silence", "the server answers over TCP")
		case tcpRefused:
			r.Note("silence", "the server's host is there, and refuses TCP: there may be no STUN server")
		case tcpSilent:
			r.Note("silence", "the server's host does not answer over TCP either")
		}
		switch m.refused {
		case report.ServerDead:
			r.Note("silence", "the server's host says that nobody listens on the port")
		case report.UDPBlocked:
			r.Note("silence", "a router on the way says that it refuses the packets")
		}
	}
	r.EarlyInbound = m.earlyInbound()
	m.reportLayers(r)
	if r.CGNAT, why = m.cgnat(); why != "" {
		r.Note("cgnat", why)
	}
	if r.Mapped.IsValid() {
		r.ALG = report.Unknown
		if m.alg != report.NotTested {
			r.ALG = m.alg
		}
	}
	m.reportPorts(r)
	m.reportCollision(r)
	m.reportHairpin(r)
	m.reportLifetimes(r)
	m.reportSizes(r)
	if m.count.Capped > 0 {
		r.Note("packets", "questions were cut short by the limit on packets")
	}
	c := m.count
	ignored := c.Malformed + c.Unasked + c.WrongSource + c.Duplicates
	r.Packets = report.Packets{Sent: c.Sent, Received: c.Answers + ignored, Ignored: ignored}
	return r
}

func (m *machine) reportServers(r *report.Report) {
	for i, addr := range m.cfg.Servers {
		s := report.Server{Addr: addr, Kind: report.KindUnknown}
		for _, a := range m.asks {
			s.Answered = s.Answered || a.to == addr && a.reply != nil
		}
		switch {
		case !s.Answered:
		case i != m.server:
			s.Kind = report.Single
		default:
			s.Kind, s.Other, s.Software = m.serverKind(), m.a2, m.software
			s.RTT = report.Duration(m.clock.least)
		}
		r.Servers = append(r.Servers, s)
	}
	r.Kind = m.serverKind()
	if r.Kind == report.Single && m.cross.mapped().IsValid() {
		r.Kind = report.TwoServers
	}
}

func (m *machine) serverKind() report.Kind {
	switch {
	case !m.seen:
		return report.KindUnknown
	case !m.a2.IsValid():
		return report.Single
	case m.old:
		return report.RFC3489
	}
	return report.RFC5780
}

// pairs returns the local and mapped endpoints of the sockets that asked a1,
// in the order of their first packets.
func (m *machine) pairs() (out [][2]netip.AddrPort) {
	for _, a := range append([]*ask{m.m1, m.f1}, m.extras.ports...) {
		if x := a.mapped(); x.IsValid() {
			out = append(out, [2]netip.AddrPort{a.sock.local, x})
		}
	}
	return out
}

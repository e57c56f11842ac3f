package natprobe

import (
	"math"
	"net/netip"
	"time"

	"shipworm/natprobe/report"
)

// core is the classification: the questions of it, by the endpoints of the
// server that they are about.
type core struct {
	mSock, fSock *socket // for mapping; for filtering: never sent to a2 before the verdict

	m1, f1        *ask    // plain, to a1
	f2, f3        *ask    // answered from a2; from a1 with the port of a2
	m21, m22, m12 *ask    // address of a2 with port of a1; a2; a1 with port of a2
	f22           *ask    // a2 from F, to which a2 may have sent before
	c2, c3        *ask    // f2 and f3 again, where the filter must let them in
	meter         [3]*ask // plain, beside f2 and f3: is the network losing packets?
	spare         *ask    // the second server, in case the first is dead
	cross         *ask    // the second server, which should see the same as a1
	paced, judged bool
	judgedAt      time.Time
	repeated      bool // the control was asked twice
	mapping       bool
	remapped      bool // asked once more, on a fresh socket
	mappingOver   bool
	tcp           tcpAnswer
	refused       report.Silence // what an ICMP error said of the server
}

// contactPauses follow the copies of the first questions. They end after
// 1.9 s: a round trip longer than that looks like a blocked network.
var contactPauses = [...]time.Duration{100 * ms, 150 * ms, 200 * ms, 250 * ms, 300 * ms, 350 * ms, 550 * ms}

const (
	ms = time.Millisecond
	// spareAfter is the silence after which the second server is asked.
	spareAfter = 300 * ms
	// dialAfter is the silence after which the server is tried over TCP.
	dialAfter = 500 * ms

	// certain is how many answers have to be missing at least before that
	// counts as silence, certainAtMost on the worst of networks.
	certain, certainAtMost = 6, 14
	// hopeful is the probability that all answers got lost below which they
	// are taken for silence, doubtful the one above which nothing is said.
	hopeful, doubtful = 1e-4, 1e-2
)

func (m *machine) contact() {
	if m.mSock == nil {
		m.mSock, m.fSock = m.open(0, options{}), m.open(0, options{})
		if len(m.cfg.Servers) > 1 {
			m.after(spareAfter, m.askSpare)
		}
		m.after(dialAfter, m.dial)
	}
	m.a1 = m.cfg.Servers[m.server]
	first := func(s *socket) *ask {
		return m.ask(&ask{sock: s, to: m.a1, limit: len(contactPauses), delay: contactPauses[:], then: m.contacted})
	}
	filter := func(ip bool) *ask {
		return m.ask(&ask{sock: m.fSock, to: m.a1, changeIP: ip, changePort: true, limit: 1, delay: []time.Duration{2 * time.Second}, then: m.filtered})
	}
	m.m1, m.f1 = first(m.mSock), first(m.fSock)
	m.f2, m.f3 = filter(true), filter(false)
}

func (m *machine) heard() bool { return m.m1.reply != nil || m.f1.reply != nil }

// askSpare turns to the second server while the first is silent.
func (m *machine) askSpare() {
	if m.heard() || m.spare != nil {
		return
	}
	m.spare = m.ask(&ask{sock: m.mSock, to: m.cfg.Servers[1], limit: 5, delay: contactPauses[1:6], then: func() {
		if m.spare.reply != nil {
			m.after(m.clock.wait(), m.changeServer)
			return
		}
		m.contacted()
	}})
}

// changeServer begins anew with the second server, which answers.
func (m *machine) changeServer() {
	if m.heard() || m.server != 0 {
		return
	}
	for _, a := range []*ask{m.m1, m.f1, m.f2, m.f3} {
		a.over = true
	}
	m.server = 1
	m.contact()
}

// dial has the driver try the server over TCP while it is silent over UDP.
func (m *machine) dial() {
	if !m.heard() {
		m.tcp = tcpUnknown
		m.out = append(m.out, action{kind: actDial, to: m.a1})
	}
}

// dialed tells what the server's host answered over TCP.
func (m *machine) dialed(t tcpAnswer) { m.tcp = t }

// tcpAnswer is what came of a TCP connection to the server.
type tcpAnswer uint8

const (
	tcpUnknown tcpAnswer = iota // not tried, or no answer yet
	tcpSilent
	tcpRefused // the host is there, a STUN server may not be
	tcpOpen    // the server is there
)

// contacted is called when a first question is over.
func (m *machine) contacted() {
	if !m.heard() {
		switch {
		case !m.m1.over || !m.f1.over:
		case m.server != 0 || len(m.cfg.Servers) == 1:
			m.end()
		case m.spare == nil:
			m.askSpare() // the first server refuses
		case m.spare.over && m.spare.reply == nil:
			m.end()
		}
		return
	}
	if !m.paced {
		m.paced = true
		m.setPace()
	}
	m.filtered()
}

// setPace lets the copies follow each other as the round trip suggests, now
// that it is known.
func (m *machine) setPace() {
	for _, a := range []*ask{m.m1, m.f1} {
		if !a.over && len(a.sent) > 0 {
			a.limit, a.delay, a.share = len(a.sent)+persistent, nil, 0.5
			if t := a.sent[len(a.sent)-1].at.Add(m.clock.wait()); t.Before(a.next) {
				a.next = t
			}
		}
	}
	for _, a := range []*ask{m.f2, m.f3} {
		switch {
		case a.over:
		case !m.a2.IsValid():
			m.finish(a)
		default:
			// The answers to the first copies are due at this moment.
			a.limit, a.delay, a.share, a.next = certain, nil, 0.3, m.now.Add(m.clock.gap(0.05))
		}
	}
	if m.a2.IsValid() {
		for i := range m.meter {
			m.meter[i] = m.ask(&ask{sock: m.fSock, to: m.a1, limit: 1})
			m.meter[i].next = m.now.Add(m.clock.gap(0.4 * float64(i+1)))
		}
	}
}

// wantsMore reports whether a question about the filter, asked often enough on
// a good network, needs more copies because this one is not good.
func (m *machine) wantsMore(a *ask) bool {
	return m.paced && (a == m.f2 || a == m.f3) && len(a.sent) < certainAtMost && m.chance(a) > hopeful
}

// chance is how probable it is that all copies of a got lost, if each does as
// probably as the copies did that nothing but the network can have lost.
func (m *machine) chance(a *ask) float64 {
	lost, of := m.lost()
	if lost == 0 {
		return 0 // as good a network as can be told
	}
	return math.Pow(float64(lost+1)/float64(of+2), float64(len(a.sent)))
}

// filtered is called when a question about the filter is over.
func (m *machine) filtered() {
	done := m.m1.over && m.f1.over && (m.f2.reply != nil || m.f2.over && m.f3.over)
	if m.judged || !m.paced || !done {
		return
	}
	m.judged, m.judgedAt = true, m.now
	m.f3.over = true
	for _, a := range m.meter {
		if a != nil && len(a.sent) == 0 {
			a.over = true
		}
	}
	m.askMapping()
}

// translated reports whether the server sees other endpoints than the sockets
// have: No is a host without NAT.
func (m *machine) translated() report.Verdict {
	switch m1, f1 := m.m1.mapped(), m.f1.mapped(); {
	case m1.IsValid() && m1 != m.mSock.local, f1.IsValid() && f1 != m.fSock.local:
		return report.Yes
	case m1.IsValid() || f1.IsValid():
		return report.No
	}
	return report.Unknown
}

func (m *machine) askMapping() {
	m.mapping = true
	m.askLayers()
	if m.translated() == report.No && m.f2.reply != nil {
		m.askExtras()
		return
	}
	to := func(s *socket, ip, port netip.AddrPort) *ask {
		return m.persist(&ask{sock: s, to: netip.AddrPortFrom(ip.Addr(), port.Port()), then: m.mapped})
	}
	if m.a2.IsValid() {
		m.m21, m.m22, m.m12 = to(m.mSock, m.a2, m.a1), to(m.mSock, m.a2, m.a2), to(m.mSock, m.a1, m.a2)
	}
	if len(m.cfg.Servers) > 1 && m.server == 0 {
		m.cross = to(m.mSock, m.cfg.Servers[1], m.cfg.Servers[1])
	}
	m.mapped()
}

// mapped is called when a question about the mapping is over.
func (m *machine) mapped() {
	for _, a := range []*ask{m.m21, m.m22, m.m12, m.cross} {
		if a != nil && !a.over {
			return
		}
	}
	if !m.mapping {
		return
	}
	m.mapping = false
	if _, clear := m.pattern(); !clear && !m.remapped {
		// A stray packet to M's endpoint may have moved its mapping, as it
		// does on Linux.
		m.remapped = true
		m.mSock = m.open(0, options{})
		m.m1 = m.persist(&ask{sock: m.mSock, to: m.a1, then: m.askMapping})
		return
	}
	m.askControl()
}

// askControl repeats the questions that met silence where the filter must let
// the answers in: on a socket that has sent to where they come from.
func (m *machine) askControl() {
	m.mappingOver = true
	if m.f2.reply == nil && m.a2.IsValid() && !m.f2.lie && m.f2.code == 0 {
		m.c2 = m.control(m.f2, m.m22)
		if m.f3.reply == nil {
			m.c3 = m.control(m.f3, m.m12)
		}
	}
	if b, _ := m.mappingVerdict(); b == report.EndpointIndependent && m.a2.IsValid() && m.f2.reply == nil && m.translated() == report.Yes {
		// Not before: it lets late answers to f2 in.
		m.f22 = m.persist(&ask{sock: m.fSock, to: m.a2, then: m.controlled})
	}
	m.controlled()
}

// control asks what silent asked on socket M, which opened the filter with
// opener. Where that has another external port than M has to a1, the answer
// must go there (RESPONSE-PORT). It returns nil if there is no way to do that.
func (m *machine) control(silent, opener *ask) *ask {
	at, open := m.m1.mapped(), opener.mapped()
	if !at.IsValid() || !open.IsValid() || at.Addr() != open.Addr() {
		return nil
	}
	c := &ask{sock: m.mSock, to: m.a1, changeIP: silent.changeIP, changePort: silent.changePort, then: m.controlled}
	if at != open {
		c.port = open.Port()
	}
	return m.persist(c)
}

func (m *machine) controlled() {
	for _, a := range []*ask{m.c2, m.c3, m.f22} {
		if a != nil && !a.over {
			return
		}
	}
	if slow2, slow3 := m.hasty(m.f2, m.c2), m.hasty(m.f3, m.c3); (slow2 || slow3) && !m.repeated {
		// Once more: it may have been this host that was slow.
		m.repeated = true
		if slow2 {
			m.c2 = m.control(m.f2, m.m22)
		}
		if slow3 {
			m.c3 = m.control(m.f3, m.m12)
		}
		return
	}
	if !m.extras.begun {
		m.askExtras()
	}
}

func (m *machine) end() { m.ended = true }

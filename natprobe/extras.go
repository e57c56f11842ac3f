package natprobe

import (
	"net/netip"
	"slices"

	"shipworm/natprobe/message"
	"shipworm/natprobe/report"
)

// extras are the tests beyond the classification. They run beside each other,
// but for those that wait for mappings to die.
type extras struct {
	begun   bool
	waiting int // tests that are not over

	ports    []*ask // of fresh sockets: portPairs even ones, their odd neighbours
	guess    *ask   // of one more, whose port was predicted
	expected uint16
	again    []*ask // m1 and f1 at the end

	layers   []*ask // by the hops that they live
	hairpins []*hairpin
	padded   *ask // in pieces, answered in pieces
	bulky    *ask // in pieces, answered in one
	sized    []*ask
	lifetime lifetime

	collision collision
}

// A hairpin is a request from one socket to the other's external endpoint.
type hairpin struct {
	*ask
	at   *socket        // where it should arrive
	from netip.AddrPort // where it came from; invalid if it did not
}

// askExtras begins the tests that are configured.
func (m *machine) askExtras() {
	m.extras.begun = true
	m.extras.waiting++ // until all have begun
	if m.cfg.Tests.Ports && m.m1.reply != nil {
		m.askPorts()
	}
	if m.cfg.Tests.Hairpin && m.translated() == report.Yes {
		m.askHairpin(m.mSock, m.fSock, m.f1.mapped())
		m.askHairpin(m.fSock, m.mSock, m.m1.mapped())
	}
	if m.cfg.Tests.Fragments {
		m.askFragments()
	}
	if m.cfg.Tests.MTU {
		m.askSizes()
	}
	m.askCollision()
	m.extraOver()
}

// extra lets the run wait for an ask.
func (m *machine) extra(a *ask) *ask {
	m.extras.waiting++
	then := a.then
	a.then = func() {
		if then != nil {
			then()
		}
		m.extraOver()
	}
	return a
}

// extraOver ends the run with its last test.
func (m *machine) extraOver() {
	m.extras.waiting--
	if m.extras.waiting > 0 || !m.extras.begun {
		return
	}
	if !m.extras.lifetime.begun && m.askLifetimes() {
		return
	}
	m.end()
}

// dropUnfinished forgets the tests of an interrupted run that are not over:
// half of one says something else than all of it.
func (x *extras) dropUnfinished() {
	open := func(list ...*ask) bool {
		return slices.ContainsFunc(list, func(a *ask) bool { return a != nil && !a.over })
	}
	if open(x.ports...) || open(x.again...) || open(x.guess) {
		x.ports, x.again, x.guess = nil, nil, nil
	}
	if slices.ContainsFunc(x.hairpins, func(h *hairpin) bool { return !h.over }) {
		x.hairpins = nil
	}
	if open(x.padded, x.bulky) {
		x.padded, x.bulky = nil, nil
	}
	if open(x.sized...) {
		x.sized = nil
	}
	if i := slices.IndexFunc(x.layers, func(a *ask) bool { return !a.over }); i >= 0 {
		x.layers = x.layers[:i]
	}
}

func (m *machine) askHairpin(from, at *socket, to netip.AddrPort) {
	if !m.policy.permitsExternal(to) {
		return // also where a server lies about it
	}
	h := &hairpin{at: at}
	h.ask = m.ask(m.extra(&ask{sock: from, to: to, limit: hairpinCopies, share: 0.5}))
	m.extras.hairpins = append(m.extras.hairpins, h)
}

// hairpinCopies is enough for the second to pass a filter that the first
// opened, and one to be lost.
const hairpinCopies = 3

// hairpinned takes a request that arrived, and reports whether it is one that
// the NAT turned around.
func (m *machine) hairpinned(sock int, from netip.AddrPort, id message.ID) bool {
	for _, h := range m.extras.hairpins {
		if h.at.id == sock && h.find(id) != nil {
			if !h.from.IsValid() {
				h.from = from
			}
			m.finish(h.ask)
			return true
		}
	}
	return false
}

func (m *machine) reportHairpin(r *report.Report) {
	for _, h := range m.extras.hairpins {
		if r.Hairpin.Verdict == report.NotTested {
			r.Hairpin.Verdict = report.No
		}
		if !h.from.IsValid() {
			continue
		}
		r.Hairpin.Verdict = report.Yes
		switch h.from.Addr() {
		case h.sock.local.Addr():
			r.Hairpin.Source = report.InternalSource
		case r.Mapped.Addr():
			r.Hairpin.Source = report.ExternalSource
		}
	}
}

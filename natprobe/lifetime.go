package natprobe

import (
	"math"
	"net/netip"
	"time"

	"shipworm/natprobe/report"
)

// lifetime measures how long idle mappings live, all times beside each other:
// each has its own socket X, which makes a mapping and falls silent. Then
// socket Y asks the server to answer to the external port of X (RFC 5780, 4.6).
// The answer finds X if the mapping lives. An answer may prolong a mapping, so
// each is tried once.
type lifetime struct {
	begun  bool
	usable report.Verdict // does the server answer to other ports?
	y      *socket
	yAddr  netip.Addr // external
	points []*point
}

// A point is one mapping that is left idle.
type point struct {
	idle   time.Duration
	stream bool
	poke   time.Duration // into idle, an answer is sent to the mapping; 0 = none
	x      *socket
	made   int // exchanges
	last   *ask
	probe  *ask
}

const (
	// ratio is that of the times of two neighbouring points.
	ratio = 0.6
	// streamed and streamPause make a mapping that carries more than a
	// question and its answer: Linux takes two seconds to believe it.
	streamed    = 4
	streamPause = 800 * ms
	// probeCopies is how often an idle mapping is tried.
	probeCopies = 3
	// points of one pass, so that MaxPackets holds them.
	points = 8
)

// askLifetimes begins the test, and reports whether there is one.
func (m *machine) askLifetimes() bool {
	l := &m.extras.lifetime
	t := m.cfg.Tests
	if t.Lifetime == 0 && t.StreamLifetime == 0 || m.m1.reply == nil {
		return false
	}
	l.begun, l.usable = true, report.Unknown
	l.y = m.open(0, options{})
	var first *ask
	first = m.extra(&ask{sock: l.y, to: m.a1, then: func() {
		l.yAddr = first.mapped().Addr()
		m.idle(&point{})
	}})
	m.persist(first)
	return true
}

// servable is called when the point without idle time is over: it tells
// whether the others make sense.
func (m *machine) servable(p *point) {
	l := &m.extras.lifetime
	if l.usable = report.Is(p.alive()); l.usable == report.No {
		return
	}
	t := m.cfg.Tests
	for i := range points {
		share := math.Pow(ratio, float64(i))
		if t.Lifetime > 0 {
			m.idle(&point{idle: time.Duration(share * float64(t.Lifetime))})
		}
		if t.StreamLifetime > 0 {
			m.idle(&point{idle: time.Duration(share * float64(t.StreamLifetime)), stream: true})
		}
	}
}

// idle makes a mapping for p and lets it be.
func (m *machine) idle(p *point) {
	m.extras.waiting++
	m.extras.lifetime.points = append(m.extras.lifetime.points, p)
	p.x = m.open(0, options{})
	m.exchange(p)
}

func (m *machine) exchange(p *point) {
	p.last = m.persist(&ask{sock: p.x, to: m.a1, then: func() {
		p.made++
		switch {
		case p.last.mapped().Addr() != m.extras.lifetime.yAddr || !p.last.mapped().IsValid():
			m.pointOver(p)
		case p.stream && p.made < streamed:
			m.after(streamPause, func() { m.exchange(p) })
		default:
			if p.poke > 0 {
				m.after(p.poke, func() { m.answerTo(p, nil) })
			}
			m.after(p.idle, func() { p.probe = m.answerTo(p, func() { m.pointOver(p) }) })
		}
	}})
}

// answerTo has the server answer to the mapping of p.
func (m *machine) answerTo(p *point, then func()) *ask {
	a := &ask{sock: m.extras.lifetime.y, back: p.x, to: m.a1, port: p.last.mapped().Port(),
		limit: probeCopies, share: 0.5, needs: true, then: then}
	return m.ask(a)
}

func (p *point) alive() bool { return p.probe != nil && p.probe.reply != nil }

func (p *point) dead() bool { return p.probe != nil && p.probe.over && p.probe.reply == nil }

// pointOver goes on after a point.
func (m *machine) pointOver(p *point) {
	l := &m.extras.lifetime
	switch {
	case p == l.points[0]:
		m.servable(p)
	case m.extras.waiting == 1 && p.poke == 0 && m.cfg.Tests.Lifetime > 0:
		// The last one: now the lifetime is known that refreshing would prolong.
		if b := l.bound(false); b.Alive > 0 && b.Dead > 0 {
			m.idle(&point{idle: time.Duration(b.Dead), poke: time.Duration(b.Alive) * 4 / 5})
		}
	}
	m.extraOver()
}

// bound returns what the points say: the longest time that a mapping survived,
// and the shortest beyond that it did not.
func (l *lifetime) bound(stream bool) (b report.Bound) {
	for _, p := range l.points {
		if p.stream == stream && p.poke == 0 && p.alive() {
			b.Alive = max(b.Alive, report.Duration(p.idle))
		}
	}
	for _, p := range l.points {
		if d := report.Duration(p.idle); p.stream == stream && p.poke == 0 && p.dead() && d > b.Alive && (b.Dead == 0 || d < b.Dead) {
			b.Dead = d
		}
	}
	return b
}

func (m *machine) reportLifetimes(r *report.Report) {
	l := &m.extras.lifetime
	if !l.begun || l.usable == report.Unknown && !m.ended {
		return
	}
	if l.usable != report.Yes {
		r.Lifetimes.InboundRefresh = report.Unknown
		r.Note("lifetimes", "the server does not answer to another port")
		return
	}
	r.Lifetimes.Single, r.Lifetimes.Stream = l.bound(false), l.bound(true)
	for _, p := range l.points {
		if p.poke > 0 && p.probe != nil && p.probe.over {
			r.Lifetimes.InboundRefresh = report.Is(p.alive())
		}
	}
}

// addLifetimes adds what a later pass found to the report of the first.
func addLifetimes(r, later *report.Report) {
	l := later.Lifetimes
	if l.Single.Tested() {
		r.Lifetimes.Single = l.Single
	}
	if l.Stream.Tested() {
		r.Lifetimes.Stream = l.Stream
	}
	r.Lifetimes.InboundRefresh = max(r.Lifetimes.InboundRefresh, l.InboundRefresh)
	for _, e := range later.Evidence {
		if e.For == "lifetimes" || e.For == "packets" {
			r.Evidence = append(r.Evidence, e)
		}
	}
	r.Interrupted = r.Interrupted || later.Interrupted
	r.Duration += later.Duration
	r.Packets.Sent += later.Packets.Sent
	r.Packets.Received += later.Packets.Received
	r.Packets.Ignored += later.Packets.Ignored
}

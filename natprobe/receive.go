package natprobe

import (
	"net/netip"
	"time"

	"shipworm/natprobe/message"
	"shipworm/natprobe/report"
)

// receive takes a datagram that arrived on a socket.
func (m *machine) receive(now time.Time, sock int, from netip.AddrPort, b []byte) {
	m.advance(now)
	if m.ended {
		return
	}
	from = unmap(from)
	msg, err := m.parse(b)
	switch {
	case err != nil:
		m.count.Malformed++
		return
	case msg.Class == message.Request && m.hairpinned(sock, from, msg.ID):
		return
	case msg.Class != message.Success && msg.Class != message.Error:
		m.count.Unasked++
		return
	}
	for _, a := range m.asks {
		if t := a.find(msg.ID); t != nil {
			m.accept(a, t, sock, from, &msg)
			m.tick(now)
			return
		}
	}
	m.count.Unasked++
}

// parse decodes an answer. Nothing larger than message.MaxSize is wanted, but
// for answers to padding.
func (m *machine) parse(b []byte) (message.Message, error) {
	if len(b) > message.MaxSize && !m.large() {
		return message.Message{}, message.ErrTooLong
	}
	return message.Parse(b)
}

// accept takes an answer with a transaction ID that was sent.
func (m *machine) accept(a *ask, t *transaction, sock int, from netip.AddrPort, msg *message.Message) {
	back := a.sock
	if a.back != nil {
		back = a.back
		if sock == a.sock.id && from == a.to && !a.over {
			a.lie = true // RESPONSE-PORT was not looked at
			m.finish(a)
			return
		}
	}
	if sock != back.id {
		m.count.Unasked++
		return
	}
	if t.answered {
		m.count.Duplicates++
		return
	}
	if !a.plain() && !m.seen {
		// Only an answer to a plain question tells who may answer this one.
		if len(a.held) < maxHeld {
			a.held = append(a.held, heldAnswer{from, msg})
		}
		return
	}
	want := a.to
	if a.changeIP || a.changePort {
		want = m.changed(a)
	}
	if msg.Class == message.Error {
		want = a.to // an error is not subject to what it refuses
	}
	switch {
	case want.IsValid() && from == want:
	case (a.changeIP || a.changePort) && from == a.to:
		// The server heard the request to answer from elsewhere, and did not.
		t.answered = true
		a.lie = true
		m.finish(a)
		return
	default:
		m.count.WrongSource++
		return
	}
	if msg.Class == message.Success && !usable(msg, a.to) {
		m.count.Malformed++
		return
	}
	t.answered = true
	m.count.Answers++
	m.clock.sample(m.now.Sub(t.at))
	if msg.Class == message.Error {
		a.code = msg.Code
		m.finish(a)
		return
	}
	if a.over {
		// A further copy: good for the clock and the count of losses.
		// One from where F itself has sent by now says nothing.
		a.late = a.late || a.reply == nil && !(a == m.f2 && m.f22 != nil)
		return
	}
	a.reply, a.took = msg, m.now.Sub(t.at)
	m.learn(a, msg)
	m.finish(a)
}

// usable reports whether an answer names an endpoint that can be one.
func usable(msg *message.Message, to netip.AddrPort) bool {
	mapped := unmap(msg.Reflexive())
	return mapped.IsValid() && mapped.Port() != 0 && !mapped.Addr().IsUnspecified() &&
		!mapped.Addr().IsMulticast() && mapped.Addr().Is4() == to.Addr().Is4()
}

// changed is where the answer to a change request comes from, if the server
// does as asked (RFC 5780, 6.1).
func (m *machine) changed(a *ask) netip.AddrPort {
	if !m.a2.IsValid() {
		return netip.AddrPort{}
	}
	ip, port := m.a1.Addr(), m.a1.Port()
	if a.changeIP {
		ip = m.a2.Addr()
	}
	if a.changePort {
		port = m.a2.Port()
	}
	return netip.AddrPortFrom(ip, port)
}

// learn takes what an answer tells besides the endpoint.
func (m *machine) learn(a *ask, msg *message.Message) {
	if msg.XORMapped.IsValid() && msg.Mapped.IsValid() && m.alg != report.Yes {
		m.alg = report.Is(unmap(msg.XORMapped) != unmap(msg.Mapped))
	}
	if a.to != m.a1 || m.seen {
		return
	}
	// The first answer counts: some servers name themselves in later ones.
	m.seen, m.old, m.software = true, msg.Old, msg.Software
	if other := unmap(msg.Other); msg.Other.IsValid() {
		if m.reject = m.objection(other, a); m.reject == "" {
			m.a2 = other
		}
	}
	for _, q := range m.asks {
		held := q.held
		q.held = nil
		for _, h := range held {
			if t := q.find(h.msg.ID); t != nil {
				m.accept(q, t, q.sock.id, h.from, h.msg)
			}
		}
	}
}

// objection says why other is not to be used as the server's other address,
// or nothing.
func (m *machine) objection(other netip.AddrPort, a *ask) string {
	ip := other.Addr()
	switch {
	case ip.Is4() != m.a1.Addr().Is4():
		return "is of another address family"
	case ip == m.a1.Addr():
		return "is the same address"
	case other.Port() == m.a1.Port():
		return "has the same port"
	case ip == a.mapped().Addr() || ip == a.sock.local.Addr():
		return "is this host's own"
	case !m.policy.permits(other):
		return "is not one that a stranger may send this host to"
	}
	return ""
}

package natprobe

import (
	"slices"

	"shipworm/natprobe/report"
)

// fragmented is the PADDING of a request that no Ethernet carries in one piece.
const fragmented = 1500

// sizes are those of IP packets that links in common use let through: Ethernet,
// PPPoE, tunnels, and what Teredo and IPv6 need at least.
var sizes = [...]int{1500, 1492, 1480, 1452, 1420, 1400, 1360, 1308, 1280}

// askFragments asks for a padded answer, and once more in a way that has none:
// PADDING with RESPONSE-PORT is an error (RFC 5780, 6.1). So it shows which
// direction loses pieces.
func (m *machine) askFragments() {
	m.extras.padded = m.persist(m.extra(&ask{sock: m.mSock, to: m.a1, padding: fragmented}))
	m.extras.bulky = m.persist(m.extra(m.bulk(m.mSock, fragmented)))
}

// bulk is a large request with a small answer. Should a server obey
// RESPONSE-PORT nonetheless, the answer comes to socket M.
func (m *machine) bulk(s *socket, padding int) *ask {
	return &ask{sock: s, to: m.a1, padding: padding, port: max(m.m1.mapped().Port(), 1)}
}

// askSizes sends requests of several sizes at once, none of which may travel in
// pieces. An answer to one makes smaller ones needless.
func (m *machine) askSizes() {
	const stun = 20 + 8 + 4 // headers of the message and of PADDING, RESPONSE-PORT
	headers := stun + 8 + 20
	if m.a1.Addr().Is6() {
		headers += 20
	}
	sock := m.open(0, options{whole: true})
	for i, size := range sizes {
		a := m.extra(m.bulk(sock, size-headers))
		a.limit, a.share, a.needs = 3, 0.5, true
		done := a.then
		a.then = func() {
			if a.arrived() {
				for _, smaller := range m.extras.sized[i+1:] {
					m.finish(smaller)
				}
			}
			done()
		}
		m.extras.sized = append(m.extras.sized, m.ask(a))
	}
}

// arrived reports whether the server got the question, liked or not.
func (a *ask) arrived() bool { return a.reply != nil || a.code != 0 }

// large reports whether an answer may be larger than message.MaxSize.
func (m *machine) large() bool {
	open := func(a *ask) bool { return a != nil && !a.over }
	return open(m.extras.padded) || open(m.extras.bulky) || slices.ContainsFunc(m.extras.sized, open)
}

func (m *machine) reportSizes(r *report.Report) {
	if a, b := m.extras.padded, m.extras.bulky; a != nil {
		out, in := a.arrived() || b.arrived(), a.reply != nil && a.reply.Padding > 0
		r.Fragments = report.Fragments{Out: report.Is(out), In: report.Unknown}
		switch {
		case in:
			r.Fragments.In = report.Yes
		case a.code != 0:
			r.Note("fragments", "the server refuses padding")
		case a.reply != nil:
			r.Note("fragments", "the server answers a request in pieces with one piece")
		case !out:
			r.Note("fragments", "a request in pieces gets no answer")
		default:
			r.Fragments.In = report.No
			r.Note("fragments", "a request in pieces gets a small answer, and none in pieces")
		}
	}
	for i, a := range m.extras.sized {
		if a.arrived() {
			r.MTU = sizes[i]
			return
		}
	}
	if sized := m.extras.sized; len(sized) > 0 {
		why := "no request of known size is answered"
		if sized[0].sock.err != nil {
			why = "this system does not send packets of known size"
		}
		r.Note("mtu", why)
	}
}

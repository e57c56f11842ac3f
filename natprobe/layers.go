package natprobe

import (
	"net/netip"

	"shipworm/natprobe/report"
)

// maxLayers is how many routers on the way are asked for: translators are near
// their customers.
const maxLayers = 6

// askLayers sends the server packets that do not live long enough, each from a
// socket of its own, so that the error about one tells whose it was. It sends
// nothing to the server's other address, so it disturbs nothing.
func (m *machine) askLayers() {
	if !m.cfg.Tests.Layers || m.extras.layers != nil || !m.a1.Addr().Is4() {
		return
	}
	for ttl := 1; ttl <= maxLayers; ttl++ {
		l := &ask{sock: m.open(0, options{ttl: ttl}), to: m.a1, limit: 2, share: 0.5}
		l.then = func() {
			if l.reply != nil { // from the server: beyond it there is nothing
				for _, further := range m.extras.layers {
					if further.sock.options.ttl > ttl {
						m.finish(further)
					}
				}
			}
			m.extraOver()
		}
		m.extras.waiting++
		m.extras.layers = append(m.extras.layers, m.ask(l))
	}
}

func (m *machine) reportLayers(r *report.Report) {
	for _, l := range m.extras.layers {
		if l.reply != nil {
			break
		}
		r.Layers = append(r.Layers, report.Layer{TTL: l.sock.options.ttl, Addr: l.hop})
	}
	for n := len(r.Layers); n > 0 && !r.Layers[n-1].Addr.IsValid(); n-- {
		r.Layers = r.Layers[:n-1] // silent to the end
	}
	if len(m.extras.layers) > 0 && m.extras.layers[0].sock.err != nil {
		r.Note("layers", "this system does not show who drops a packet")
	}
}

// carrier reports whether an address is of those between carriers and their
// customers (RFC 6598, RFC 7335).
func carrier(ip netip.Addr) bool {
	return netip.MustParsePrefix("100.64.0.0/10").Contains(ip) || netip.MustParsePrefix("192.0.0.0/29").Contains(ip)
}

// cgnat tells whether a translator stands beyond the home's own, and why.
func (m *machine) cgnat() (report.Verdict, string) {
	mapped, local := m.m1.mapped().Addr(), m.mSock.local.Addr()
	wan := m.cfg.WAN.Unmap()
	switch {
	case carrier(local) && m.translated() == report.Yes:
		return report.Yes, "this host's own address is of a carrier's range"
	case carrier(wan):
		return report.Yes, "the router's outside address is of a carrier's range"
	case wan.IsValid() && mapped.IsValid() && wan.Is4() == mapped.Is4() && wan != mapped:
		return report.Yes, "the router's outside address is not the one that the server sees"
	case wan.IsValid() && mapped.IsValid() && wan.Is4() == mapped.Is4():
		return report.No, "the router's outside address is the one that the server sees"
	case m.translated() != report.Yes:
		return report.NotTested, ""
	}
	inside := 0
	for _, l := range m.extras.layers {
		switch {
		case carrier(l.hop):
			return report.Yes, "a router on the way has an address of a carrier's range"
		case l.hop.IsPrivate():
			inside++
		}
	}
	if inside > 1 {
		return report.Unknown, "more than one router on the way has a private address: the second may translate too"
	}
	return report.NotTested, ""
}

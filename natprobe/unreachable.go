package natprobe

import (
	"errors"
	"net/netip"
	"time"

	"shipworm/natprobe/report"
)

// An icmpError is what a router or host says about a packet that was sent.
type icmpError struct {
	kind icmpKind
	to   netip.AddrPort // of the packet
	from netip.Addr     // who says so
}

type icmpKind uint8

const (
	icmpOther      icmpKind = iota
	icmpExceeded            // it lived too short
	icmpRefused             // nobody listens on that port
	icmpProhibited          // a firewall does not want it
)

// errUnsupported is that a socket cannot have the options it was to have.
var errUnsupported = errors.New("natprobe: not on this system")

// unreachable takes an error about a packet from a socket. Like an answer it
// counts only from where it can come.
func (m *machine) unreachable(now time.Time, sock int, e icmpError) {
	m.advance(now)
	e.from, e.to = e.from.Unmap(), unmap(e.to)
	for _, a := range m.asks {
		if a.over || a.sock.id != sock || a.to != e.to {
			continue
		}
		switch {
		case e.kind == icmpExceeded && a.sock.options.ttl > 0:
			a.hop = e.from
			m.finish(a)
		case e.kind == icmpRefused && e.from == a.to.Addr() && a.plain():
			m.refused = report.ServerDead
			m.finish(a)
		case (e.kind == icmpRefused || e.kind == icmpProhibited) && a.plain() && e.from != a.sock.local.Addr():
			m.refused = report.UDPBlocked
			m.finish(a)
		}
	}
	m.tick(now)
}

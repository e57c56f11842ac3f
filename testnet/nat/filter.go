package nat

import "shipworm/testnet/internal/ipv4"

// filtered reports whether permissions are kept apart from the mapping: only
// where the filter looks at more of the remote endpoint than the mapping does.
func (n *NAT) filtered() bool { return n.cfg.Filtering > n.cfg.Mapping }

// filterScope is the part of a remote endpoint that the filter looks at. ICMP
// echo has no remote port.
func (n *NAT) filterScope(remote endpoint) endpoint { return scope(remote, n.cfg.Filtering) }

// permit notes that the inside sends to f.dst: a permission for the filter
// and, for TCP, the state of the connection. False means no room.
func (n *NAT) permit(m *mapping, f *flow, now int64) bool {
	c := icmpEcho
	switch m.proto {
	case protoTCP:
		p := n.connect(m, f.dst, f.flags, true, now)
		if p == nil {
			return false
		}
		c = p.timer.class
	case protoUDP:
		c = udpFresh
		if m.answered {
			c = udpAnswered
		}
	}
	if !n.filtered() {
		return true
	}
	p := n.addPeer(m, n.filterScope(f.dst))
	if p == nil {
		return false
	}
	n.start(&p.timer, c, now)
	return true
}

// filter decides whether remote may send through m (RFC 4787, 5). The peer is
// the permission that allowed it, or nil where the mapping itself does.
func (n *NAT) filter(m *mapping, remote endpoint) (*peer, Reason) {
	want := n.filterScope(remote)
	if !n.filtered() {
		// The mapping looks at as much as the filter, so it knows the answer.
		if n.cfg.Filtering != EndpointIndependent && scope(m.remote, n.cfg.Filtering) != want {
			if m.remote.addr == remote.addr {
				return nil, FilteredPort
			}
			return nil, FilteredAddress
		}
		return nil, Permitted
	}
	if p := n.findPeer(m, want); p != nil {
		return p, Permitted
	}
	// Only now, for the reason's sake, look whether the address is known.
	for p := m.peers; p != nil; p = p.next {
		if p.remote.addr == remote.addr {
			return nil, FilteredPort
		}
	}
	return nil, FilteredAddress
}

// connection is what is known of a TCP connection: which sides were heard and
// which have finished.
type connection uint8

const (
	heardInside connection = 1 << iota
	heardOutside
	finishedInside
	finishedOutside
	wasReset
)

// class is the idle time of a connection: long only while both sides were
// heard and neither a reset nor both FINs were seen (RFC 5382, 5; RFC 7857, 2).
func (c connection) class() class {
	const both = heardInside | heardOutside
	const closed = finishedInside | finishedOutside
	if c&both != both || c&closed == closed || c&wasReset != 0 {
		return tcpTransitory
	}
	return tcpEstablished
}

// connect notes a segment and restarts the connection's timer; nil means no
// room for a new connection.
func (n *NAT) connect(m *mapping, remote endpoint, flags byte, outbound bool, now int64) *peer {
	p := n.addPeer(m, remote)
	if p == nil {
		return nil
	}
	heard, finished := heardOutside, finishedOutside
	if outbound {
		heard, finished = heardInside, finishedInside
	}
	switch {
	case flags&ipv4.RST != 0:
		p.tcp |= wasReset
	case flags&ipv4.SYN != 0 && flags&ipv4.ACK == 0:
		if p.tcp.class() == tcpTransitory && p.tcp&(wasReset|finishedInside|finishedOutside) != 0 {
			p.tcp = 0 // the same endpoints start anew
		}
		p.tcp |= heard
	case flags&ipv4.FIN != 0:
		p.tcp |= heard | finished
	default:
		p.tcp |= heard
	}
	n.start(&p.timer, p.tcp.class(), now)
	return p
}

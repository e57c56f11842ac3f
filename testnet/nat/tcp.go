package nat

import "shipworm/testnet/internal/ipv4"

// A connection is what is known of a TCP connection: which sides were heard,
// which have finished, and whether it was reset. Its states are those of RFC
// 7857, 2, figure 1, without telling client from server:
//
//	        first SYN           the other side answers
//	CLOSED ----------> INIT ------------------------> ESTABLISHED
//	   ^                |                               |   ^  |
//	   | opening idle   |                          RST  |   |  | FIN, FIN
//	   +----------------+                               v   |  v
//	   |  reset idle                                 TRANS -+  CLOSING
//	   +-----------------------------------------------+  data |
//	   |  closing idle                                         |
//	   +-------------------------------------------------------+
type connection uint8

const (
	heardInside connection = 1 << iota
	heardOutside
	finishedInside
	finishedOutside
	wasReset

	bothHeard    = heardInside | heardOutside
	bothFinished = finishedInside | finishedOutside
)

// class is the idle time of a connection: long only while both sides were
// heard and neither a reset nor both FINs were seen (RFC 5382, 5; RFC 7857, 2).
func (c connection) class() class {
	switch {
	case c&wasReset != 0:
		return tcpReset
	case c&bothFinished == bothFinished:
		return tcpClosing
	case c&bothHeard != bothHeard:
		return tcpOpening
	}
	return tcpEstablished
}

// connect notes a segment and restarts the connection's timer; 0 means no
// room for a new connection.
func (n *NAT) connect(i uint32, m *mapping, remote endpoint, flags byte, outbound bool, now int64) uint32 {
	id := n.addPeer(i, m, remote)
	if id == 0 {
		return 0
	}
	p := n.peers.at(id)
	heard, finished := heardOutside, finishedOutside
	if outbound {
		heard, finished = heardInside, finishedInside
	}
	switch {
	case flags&ipv4.RST != 0:
		// A reset from the inside says that nobody is interested: it never
		// makes the entry live longer (RFC 7857, 7.1).
		before := p.tcp.class()
		p.tcp |= wasReset
		if outbound && before != tcpEstablished && p.timer.queued {
			return id
		}
	case flags&ipv4.SYN != 0 && flags&ipv4.ACK == 0:
		if c := p.tcp.class(); c == tcpReset || c == tcpClosing || p.tcp&(finishedInside|finishedOutside) != 0 && c == tcpOpening {
			p.tcp = 0 // the same endpoints start anew
		}
		p.tcp |= heard
	case flags&ipv4.FIN != 0:
		p.tcp |= heard | finished
	default:
		p.tcp |= heard
		if p.tcp&bothFinished != bothFinished {
			p.tcp &^= wasReset // TRANS: the connection lives after all
		}
	}
	n.start(peerTimer(id), &p.timer, p.tcp.class(), now)
	return id
}

// opens reports whether the inside has an open or opening connection with
// remote, which TCPOutboundOnly asks for.
func (n *NAT) opens(i uint32, m *mapping, remote endpoint) bool {
	p := n.findPeer(i, m, remote)
	if p == 0 {
		return false
	}
	c := n.peers.at(p).tcp
	return c&heardInside != 0 && c&(wasReset|finishedInside|finishedOutside) == 0
}

package engine

import "time"

// Bounds of the extra ports.
const (
	maxPorts      = 512
	strangerPorts = 64 // open already: peers that the host does not want get none then

	portRefresh   = 25 * time.Second // RFC 6081, 5.4.2.1 says 30 s, which many NATs do not wait for
	portRefreshes = 20               // of a peer that is sent no data
)

// ports are the UDP ports besides the service port (RFC 6081, 3.3), each for
// one peer: symmetric NATs give each a mapping of its own.
type ports struct {
	open    map[uint16]*peer
	closing []uint16 // for the next Output
}

// openPort asks the driver for another port for p; 0 if there is none to have.
func (c *Client) openPort(p *peer, out *Output) uint16 {
	n := len(c.ports.open)
	if n >= maxPorts || (!p.wanted && n >= strangerPorts && p != c.birthday.peer) {
		c.drop(DropPortLimit)
		return 0
	}
	const first, count = 49152, 16384 // RFC 6335, 6
	for range 64 {
		port := uint16(first + c.jitter.IntN(count))
		if c.ports.open[port] != nil || port == c.local.Port() || port == c.mapping.Port() || port == c.seen {
			continue
		}
		if c.ports.open == nil {
			c.ports.open = map[uint16]*peer{}
		}
		c.ports.open[port] = p
		p.x.ports++
		out.Open = append(out.Open, port)
		return port
	}
	c.drop(DropPortLimit)
	return 0
}

// close gives a port back.
func (s *ports) close(port uint16) {
	if p := s.open[port]; p != nil {
		p.x.ports--
		delete(s.open, port)
		s.closing = append(s.closing, port)
	}
}

// keep gives all ports of p back but one; 0 is the service port, so none stays.
func (s *ports) keep(p *peer, port uint16) {
	if p.x == nil || p.x.ports == 0 {
		return
	}
	for q, owner := range s.open {
		if owner == p && q != port {
			s.close(q)
		}
	}
	if p.x.port != port {
		p.x.port, p.x.external = 0, 0
		p.x.test = echoTest{}
	}
}

func (s *ports) drain(out *Output) {
	out.Close = append(out.Close, s.closing...)
	s.closing = s.closing[:0]
}

// keepPort sends a sign of life through the extra port that p is reached by,
// as long as data was sent lately or for some minutes more: without it the
// NAT's mapping is gone, and no other port leads back (RFC 6081, 5.4.2.1).
func (c *Client) keepPort(now time.Time, p *peer, out *Output) {
	if p.port == 0 {
		c.peers.due.remove(p)
		return
	}
	x := p.x
	switch {
	case now.Sub(p.lastData) <= portRefresh:
		x.refreshes = 0
	case x.refreshes >= portRefreshes:
		c.peers.due.remove(p)
		c.ports.keep(p, 0)
		return
	}
	x.refreshes++
	c.bubbleTo(now, p, p.port, p.mapped, 0, trailersOf(p, noTrailers), out)
	c.peers.due.set(p, now.Add(portRefresh))
}

package natprobe

import "shipworm/natprobe/report"

// collision sees what becomes of two hosts behind the NAT that use one port
// (RFC 4787, 4.2.1): sockets of both addresses of this host play them. The
// second asks the server's other address first, where nothing collides, then
// what the first has asked, one after the other. A NAT whose external ports are
// taken for all destinations moves the second at once; one that looks at the
// destination, as Linux does, only then, so that its mapping depends on that
// now, whatever it is otherwise.
type collision struct {
	first  *ask // of the first address
	beside *ask // of the second, another destination; nil if there is none
	second *ask // of the second
	again  *ask // first, once more
}

func (m *machine) askCollision() {
	if !m.cfg.Second.IsValid() || m.cfg.Second.Is4() != m.a1.Addr().Is4() || m.translated() != report.Yes {
		return
	}
	c := &m.extras.collision
	own := m.open(0, options{})
	c.first = m.persist(m.extra(&ask{sock: own, to: m.a1, then: func() {
		if c.first.mapped().Port() != own.local.Port() {
			return // not one that keeps ports: nothing collides
		}
		other := m.open(own.local.Port(), options{second: true})
		collide := func() {
			c.second = m.persist(m.extra(&ask{sock: other, to: m.a1, then: func() {
				c.again = m.persist(m.extra(&ask{sock: own, to: m.a1}))
			}}))
		}
		if !m.a2.IsValid() {
			collide()
			return
		}
		c.beside = m.persist(m.extra(&ask{sock: other, to: m.a2, then: collide}))
	}}))
}

func (m *machine) reportCollision(r *report.Report) {
	c := m.extras.collision
	first, second, again := c.first.mapped(), c.second.mapped(), c.again.mapped()
	switch {
	case c.second == nil && first.IsValid() && first.Port() != c.first.sock.local.Port():
		r.Note("collision", "this NAT does not keep port numbers: nothing collides")
	case c.again == nil || !c.again.over:
		return
	case c.second.sock.err != nil:
		r.Note("collision", "the second address has no such socket: "+c.second.sock.err.Error())
	case second.IsValid() && second == first:
		r.Collision = report.Overloaded
	case again != first:
		r.Note("collision", "the first socket has lost its endpoint, or no answer came")
	case !second.IsValid() && c.beside.mapped().IsValid():
		r.Collision = report.Refused
	case !second.IsValid():
		r.Note("collision", "the second address of this host gets no answers at all")
	default:
		r.Collision = report.Moved
	}
	b, _ := m.mappingVerdict()
	if x := c.beside.mapped(); b == report.EndpointIndependent && x.IsValid() && second.IsValid() && x != second {
		r.Deterministic = report.No
		r.Note("deterministic", "of two hosts that use one port the second has an endpoint for each destination")
	}
}

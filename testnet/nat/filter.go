package nat

// filtered reports whether permissions are kept apart from the mapping: only
// where the filter looks at more of the remote endpoint than the mapping does.
func (n *NAT) filtered(proto byte) bool { return n.cfg.filtering(proto) > n.cfg.mapping(proto) }

// filterScope is the part of a remote endpoint that the filter looks at. ICMP
// echo has no remote port.
func (n *NAT) filterScope(proto byte, remote endpoint) endpoint {
	return scope(remote, n.cfg.filtering(proto))
}

// permit notes that the inside sends to f.dst: a permission for the filter
// and, for TCP, the state of the connection. False means no room.
func (n *NAT) permit(i uint32, m *mapping, f *flow, now int64) bool {
	var c class
	if m.proto == protoTCP {
		p := n.connect(i, m, f.dst, f.flags, true, now)
		if p == 0 {
			return false
		}
		c = n.peers.at(p).timer.class
	} else {
		c = n.classOf(m, now)
	}
	if m.kind == static || !n.filtered(m.proto) {
		return true
	}
	p := n.addPeer(i, m, n.filterScope(m.proto, f.dst))
	if p == 0 {
		return false
	}
	if t := &n.peers.at(p).timer; !t.queued || n.refreshedBySending(m.proto) {
		n.start(peerTimer(p), t, c, now)
	}
	return true
}

// filter decides whether remote may send through m (RFC 4787, 5). The peer is
// the permission that allowed it, or 0 where the mapping itself does.
func (n *NAT) filter(i uint32, m *mapping, remote endpoint) (uint32, Reason) {
	switch m.kind {
	case static:
		if !n.forwardAllows(m, remote) {
			return 0, FilteredAddress
		}
		return 0, Permitted
	case early:
		return 0, EarlyEntry
	case held:
		return 0, PortHeld
	}
	filtering := n.cfg.filtering(m.proto)
	want := scope(remote, filtering)
	if !n.filtered(m.proto) {
		// The mapping looks at as much as the filter, so it knows the answer.
		if filtering != EndpointIndependent && scope(m.remote, filtering) != want {
			if m.remote.addr == remote.addr {
				return 0, FilteredPort
			}
			return 0, FilteredAddress
		}
		return 0, Permitted
	}
	if p := n.findPeer(i, m, want); p != 0 {
		return p, Permitted
	}
	// Only now, for the reason's sake, look whether the address is known.
	for p := m.peers; p != 0; p = n.peers.at(p).next {
		if n.peers.at(p).remote.addr == remote.addr {
			return 0, FilteredPort
		}
	}
	return 0, FilteredAddress
}

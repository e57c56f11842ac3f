package nat

func peerHash(owner uint32, remote endpoint) uint64 {
	return hash(0, endpoint{addr: owner}, remote)
}

func (n *NAT) findPeer(owner uint32, m *mapping, remote endpoint) uint32 {
	if i := m.recent; i != 0 && n.peers.at(i).remote == remote {
		return i
	}
	for i := n.byPeer.head(peerHash(owner, remote)); i != 0; {
		p := n.peers.at(i)
		if p.remote == remote && p.owner == owner {
			m.recent = i
			return i
		}
		i = p.chain
	}
	return 0
}

// addPeer returns the entry for remote, making it if there is room; else 0.
func (n *NAT) addPeer(owner uint32, m *mapping, remote endpoint) uint32 {
	if i := n.findPeer(owner, m, remote); i != 0 {
		return i
	}
	h := n.hosts[m.inner.addr] // nil for the host of a forward that has no mapping
	if n.byPeer.size >= n.cfg.MaxPeers || h != nil && h.peers >= n.cfg.MaxPeersPerHost {
		n.stats.Refused++
		return 0
	}
	i := n.peers.get()
	p := n.peers.at(i)
	*p = peer{remote: remote, owner: owner, next: m.peers}
	if p.next != 0 {
		n.peers.at(p.next).prev = i
	}
	m.peers, m.recent = i, i
	at := n.byPeer.slot(peerHash(owner, remote), n.peerChain, func(i uint32) uint64 {
		p := n.peers.at(i)
		return peerHash(p.owner, p.remote)
	})
	p.chain, *at = *at, i
	if m.kind == live {
		h.peers++
	}
	return i
}

func (n *NAT) peerChain(i uint32) *uint32 { return &n.peers.at(i).chain }

// dropPeer removes an entry, whatever becomes of its mapping.
func (n *NAT) dropPeer(i uint32) {
	p := n.peers.at(i)
	m := n.maps.at(p.owner)
	n.stop(&p.timer)
	n.byPeer.remove(peerHash(p.owner, p.remote), i, n.peerChain)
	if p.prev != 0 {
		n.peers.at(p.prev).next = p.next
	} else {
		m.peers = p.next
	}
	if p.next != 0 {
		n.peers.at(p.next).prev = p.prev
	}
	if m.recent == i {
		m.recent = 0
	}
	if m.kind == live {
		n.hosts[m.inner.addr].peers--
	}
	n.peers.put(i)
}

// removePeer removes an entry whose time is over, and a TCP mapping with its
// last connection.
func (n *NAT) removePeer(i uint32) {
	owner := n.peers.at(i).owner
	n.dropPeer(i)
	if m := n.maps.at(owner); m.proto == protoTCP && m.peers == 0 && m.kind == live {
		n.stats.Expired++
		n.endMapping(owner, n.last)
	}
}

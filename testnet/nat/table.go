package nat

// A key is 16 bytes without padding, so that the map hashes it in one go.
type key struct{ hi, lo uint64 }

// An endpoint is an address and a port; for ICMP echo the port is the
// identifier.
type endpoint struct {
	addr uint32
	port uint16
}

func (e endpoint) lo() uint64 { return uint64(e.port) }

// flowKey is the key of a local endpoint and the part of the remote one that a
// behaviour looks at.
func flowKey(proto byte, local, remote endpoint, b Behavior) key {
	k := key{uint64(local.addr) << 32, uint64(proto)<<32 | local.lo()<<16}
	switch b {
	case AddressAndPortDependent:
		k.lo |= remote.lo()
		fallthrough
	case AddressDependent:
		k.hi |= uint64(remote.addr)
	}
	return k
}

// scope blanks the part of a remote endpoint that a behaviour ignores.
func scope(remote endpoint, b Behavior) endpoint {
	switch b {
	case EndpointIndependent:
		return endpoint{}
	case AddressDependent:
		remote.port = 0
	}
	return remote
}

// A mapping ties an internal endpoint to an external one.
type mapping struct {
	id       uint32
	proto    byte
	answered bool // a packet came in
	inner    endpoint
	outer    endpoint
	remote   endpoint // the part that Config.Mapping looks at
	host     *host
	peers    *peer // all of this mapping's
	recent   *peer // the last one looked up: most flows have one
	timer    timer // idle for TCP, whose mapping lives as long as its peers
}

// A peer is a remote endpoint that the inside talked to: a permission of the
// filter, and for TCP a connection.
type peer struct {
	key        key
	remote     endpoint // port 0 for a permission of a whole address
	owner      *mapping
	prev, next *peer // of the same mapping
	tcp        connection
	timer      timer
}

// A host is an inside address with at least one mapping.
type host struct {
	external int // index: pooling is paired by default
	mappings int
}

// class is one idle time; each has a queue of its own, so that the oldest
// timer of a class is always at its head.
type class uint8

const (
	udpFresh class = iota
	udpAnswered
	tcpTransitory
	tcpEstablished
	icmpEcho
	classes
)

// A timer belongs to a mapping or, if peer is set, to a peer.
type timer struct {
	prev, next *timer
	queued     bool
	class      class
	due        int64
	mapping    *mapping
	peer       *peer
}

type queue struct {
	life       int64
	head, tail *timer
}

// start puts a timer at the end of the queue of its class, running or not.
func (n *NAT) start(t *timer, c class, now int64) {
	q := &n.timers[c]
	if t.queued && t.class == c && q.tail == t {
		t.due = now + q.life
		return
	}
	n.stop(t)
	t.queued, t.class, t.due = true, c, now+q.life
	t.prev, t.next = q.tail, nil
	if q.tail != nil {
		q.tail.next = t
	} else {
		q.head = t
	}
	q.tail = t
}

func (n *NAT) stop(t *timer) {
	if !t.queued {
		return
	}
	q := &n.timers[t.class]
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		q.head = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		q.tail = t.prev
	}
	t.prev, t.next, t.queued = nil, nil, false
}

// expire removes what is due; a timer is due once its whole idle time passed.
func (n *NAT) expire(now int64) {
	for c := range n.timers {
		q := &n.timers[c]
		for q.head != nil && q.head.due <= now {
			if t := q.head; t.peer != nil {
				n.removePeer(t.peer)
			} else {
				n.removeMapping(t.mapping)
				n.stats.Expired++
			}
		}
	}
}

// touch prolongs a mapping's own timer.
func (n *NAT) touch(m *mapping, now int64) {
	switch m.proto {
	case protoUDP:
		if m.answered {
			n.start(&m.timer, udpAnswered, now)
		} else {
			n.start(&m.timer, udpFresh, now)
		}
	case protoICMP:
		n.start(&m.timer, icmpEcho, now)
	}
}

func peerKey(m *mapping, remote endpoint) key {
	return key{uint64(m.id), uint64(remote.addr)<<16 | remote.lo()}
}

func (n *NAT) findPeer(m *mapping, remote endpoint) *peer {
	if p := m.recent; p != nil && p.remote == remote {
		return p
	}
	p := n.peers[peerKey(m, remote)]
	if p != nil {
		m.recent = p
	}
	return p
}

// addPeer returns the entry for remote, making it if there is room; else nil.
func (n *NAT) addPeer(m *mapping, remote endpoint) *peer {
	if p := n.findPeer(m, remote); p != nil {
		return p
	}
	if len(n.peers) >= n.cfg.MaxPeers {
		n.stats.Refused++
		return nil
	}
	p := &peer{key: peerKey(m, remote), remote: remote, owner: m, next: m.peers}
	p.timer.peer = p
	if p.next != nil {
		p.next.prev = p
	}
	m.peers, m.recent = p, p
	n.peers[p.key] = p
	return p
}

func (n *NAT) removePeer(p *peer) {
	m := p.owner
	n.stop(&p.timer)
	delete(n.peers, p.key)
	if p.prev != nil {
		p.prev.next = p.next
	} else {
		m.peers = p.next
	}
	if p.next != nil {
		p.next.prev = p.prev
	}
	if m.recent == p {
		m.recent = nil
	}
	if m.proto == protoTCP && m.peers == nil {
		n.removeMapping(m)
		n.stats.Expired++
	}
}

func (n *NAT) removeMapping(m *mapping) {
	n.stop(&m.timer)
	for p := m.peers; p != nil; p = p.next {
		n.stop(&p.timer)
		delete(n.peers, p.key)
	}
	m.peers, m.recent = nil, nil
	delete(n.out, n.outKey(m.proto, m.inner, m.remote))
	delete(n.in, n.inKey(m.proto, m.outer, m.remote))
	if m.host.mappings--; m.host.mappings == 0 {
		delete(n.hosts, m.inner.addr)
	}
}

func (n *NAT) outKey(proto byte, inner, remote endpoint) key {
	return flowKey(proto, inner, remote, n.cfg.Mapping)
}

// inKey finds a mapping from the outside. External endpoints are unique unless
// they may overlap.
func (n *NAT) inKey(proto byte, outer, remote endpoint) key {
	if n.overlaps() {
		return flowKey(proto, outer, remote, n.cfg.Mapping)
	}
	return flowKey(proto, outer, endpoint{}, EndpointIndependent)
}

// overlaps reports whether several mappings may have one external endpoint:
// when asked for, and without translation, where nothing else is possible.
func (n *NAT) overlaps() bool { return n.cfg.Overlap || n.cfg.NoTranslation }

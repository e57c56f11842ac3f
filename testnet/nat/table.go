package nat

// An endpoint is an address and a port; for ICMP echo the port is the
// identifier, for protocols without ports it is zero.
type endpoint struct {
	addr uint32
	port uint16
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

// kind says what an entry of the mapping table stands for.
type kind uint8

const (
	live   kind = iota + 1
	static      // a port forward: no timer, no filter but its own
	early       // what an unsolicited packet left behind (Config.EarlyInbound)
	held        // the port of an ended mapping (Config.Quarantine)
)

// A mapping ties an internal endpoint to an external one.
type mapping struct {
	inner    endpoint
	outer    endpoint
	remote   endpoint // the part that the mapping behaviour looks at
	next     [3]uint32
	peers    uint32 // all of this mapping's
	recent   uint32 // the last one looked up: most flows have one
	timer    timer  // idle for TCP, whose mapping lives as long as its peers
	born     int64
	proto    byte
	kind     kind
	answered bool  // a packet came in
	special  class // of Config.PortLifetimes, while nothing else was sent to; else 0
}

// The chains that a mapping is in.
const (
	byInner = iota
	byOuter
	bySource // by internal endpoint alone, for Config.ReuseSource
)

// A peer is a remote endpoint that the inside talked to: a permission of the
// filter, and for TCP a connection.
type peer struct {
	remote     endpoint // port 0 for a permission of a whole address
	owner      uint32
	prev, next uint32 // of the same mapping
	chain      uint32
	timer      timer
	tcp        connection
}

// A host is an inside address with at least one mapping.
type host struct {
	external int // index: pooling is paired by default
	mappings int
	perProto Limits // counted, not bounded
	peers    int
	blocks   []block
	tokens   int64 // new mappings that HostRate allows, in billionths
	filled   int64 // when tokens was right
}

// key hashes what a chain goes by.
func (n *NAT) key(which int, m *mapping) uint64 {
	switch which {
	case byOuter:
		return hash(m.proto, m.outer, n.inScope(m.proto, m.remote))
	case bySource:
		return hash(m.proto, m.inner, endpoint{})
	}
	return hash(m.proto, m.inner, m.remote)
}

func (n *NAT) chain(which int, i uint32) {
	next := func(i uint32) *uint32 { return &n.maps.at(i).next[which] }
	m := n.maps.at(i)
	h := n.key(which, m)
	at := n.by[which].slot(h, next, func(i uint32) uint64 { return n.key(which, n.maps.at(i)) })
	m.next[which], *at = *at, i
}

func (n *NAT) unchain(which int, i uint32) {
	n.by[which].remove(n.key(which, n.maps.at(i)), i, func(i uint32) *uint32 { return &n.maps.at(i).next[which] })
}

// inScope is what tells mappings with one external endpoint apart: nothing,
// unless they may overlap.
func (n *NAT) inScope(proto byte, remote endpoint) endpoint {
	if n.overlaps() {
		return scope(remote, n.cfg.mapping(proto))
	}
	return endpoint{}
}

// overlaps reports whether several mappings may have one external endpoint:
// when asked for, and without translation, where nothing else is possible.
func (n *NAT) overlaps() bool { return n.cfg.Overlap || n.cfg.NoTranslation }

// findInner returns the mapping of an internal endpoint for a destination.
func (n *NAT) findInner(proto byte, inner, remote endpoint) uint32 {
	remote = scope(remote, n.cfg.mapping(proto))
	for i := n.by[byInner].head(hash(proto, inner, remote)); i != 0; {
		m := n.maps.at(i)
		if m.inner == inner && m.remote == remote && m.proto == proto {
			return i
		}
		i = m.next[byInner]
	}
	if len(n.forwards) > 0 {
		return n.forwardOf(proto, inner)
	}
	return 0
}

// findOuter returns the entry for an external endpoint as seen from remote.
func (n *NAT) findOuter(proto byte, outer, remote endpoint) uint32 {
	remote = n.inScope(proto, remote)
	overlaps := n.overlaps()
	for i := n.by[byOuter].head(hash(proto, outer, remote)); i != 0; {
		m := n.maps.at(i)
		if m.outer == outer && m.proto == proto && (!overlaps || m.remote == remote) {
			return i
		}
		i = m.next[byOuter]
	}
	if len(n.forwards) > 0 {
		return n.forwards[forwardKey{proto, outer}].id
	}
	return 0
}

// findSource returns the newest mapping of an internal endpoint.
func (n *NAT) findSource(proto byte, inner endpoint) uint32 {
	for i := n.by[bySource].head(hash(proto, inner, endpoint{})); i != 0; {
		m := n.maps.at(i)
		if m.inner == inner && m.proto == proto {
			return i
		}
		i = m.next[bySource]
	}
	return 0
}

// insert puts a mapping in the table.
func (n *NAT) insert(m mapping) uint32 {
	i := n.maps.get()
	*n.maps.at(i) = m
	switch m.kind {
	case live:
		n.live++
		n.chain(byInner, i)
		if n.cfg.ReuseSource {
			n.chain(bySource, i)
		}
		n.stats.Created++
	case early:
		n.live++
	case static:
		return i
	}
	n.chain(byOuter, i)
	return i
}

// endMapping ends an entry. The port of a live mapping may go to quarantine:
// TCP's not, for its connections were followed to their end (RFC 6888, REQ-8a).
func (n *NAT) endMapping(i uint32, now int64) {
	m := n.maps.at(i)
	n.stop(&m.timer)
	for m.peers != 0 {
		n.dropPeer(m.peers)
	}
	if m.kind == live {
		n.unchain(byInner, i)
		if n.cfg.ReuseSource {
			n.unchain(bySource, i)
		}
		n.leave(m)
		n.live--
		if n.cfg.Quarantine > 0 && m.proto != protoTCP && !n.cfg.NoTranslation && n.cfg.Allocation != Overloading {
			n.quarantine(i, now)
			return
		}
	}
	switch m.kind {
	case early:
		n.live--
	case held:
		n.quarantined--
	}
	n.unchain(byOuter, i)
	n.maps.put(i)
}

// quarantine keeps the port of a mapping that ended, and frees the one that
// was kept longest where there are too many.
func (n *NAT) quarantine(i uint32, now int64) {
	if n.quarantined >= n.cfg.MaxQuarantined {
		if oldest := n.timers[quarantined].head; oldest != 0 {
			n.endMapping(uint32(oldest>>1), now)
		}
	}
	m := n.maps.at(i)
	m.kind, m.recent = held, 0
	n.quarantined++
	n.start(mappingTimer(i), &m.timer, quarantined, now)
}

// leave takes a mapping from its host's account.
func (n *NAT) leave(m *mapping) {
	h := n.hosts[m.inner.addr]
	h.mappings--
	h.perProto.add(m.proto, -1)
	if h.mappings == 0 {
		n.freeBlocks(h)
		delete(n.hosts, m.inner.addr)
	}
}

func (l *Limits) add(proto byte, d int) {
	switch proto {
	case protoUDP:
		l.UDP += d
	case protoTCP:
		l.TCP += d
	case protoICMP:
		l.ICMP += d
	}
}

// touch prolongs a mapping's own timer.
func (n *NAT) touch(i uint32, m *mapping, now int64) {
	if m.proto != protoTCP && m.kind == live {
		n.start(mappingTimer(i), &m.timer, n.classOf(m, now), now)
	}
}

// classOf is the idle time that a mapping without connections has now.
func (n *NAT) classOf(m *mapping, now int64) class {
	switch {
	case m.proto == protoICMP:
		return icmpEcho
	case m.proto != protoUDP:
		return otherProtocol
	case m.special != 0:
		return m.special
	case m.answered && now-m.born >= int64(n.cfg.AnsweredAge):
		return udpAnswered
	}
	return udpFresh
}

package nat

// overlapProbes bounds the search for a port whose tuple is free; with
// overlapping ports there is no cheap way to know that none is.
const overlapProbes = 128

// create makes a mapping for an outbound flow, or says why not.
func (n *NAT) create(f *flow, now int64) (uint32, Reason) {
	h, known := n.hosts[f.src.addr]
	if !known {
		h = &host{external: n.nextXP, filled: now, tokens: int64(n.cfg.HostRate) * 1e9}
	}
	why := n.admit(h, f.proto, now)
	outer := f.src
	if why == NewMapping && !n.cfg.NoTranslation {
		outer, why = n.allocate(f, h)
	}
	if why != NewMapping {
		if !known {
			n.freeBlocks(h)
		}
		n.stats.Refused++
		return 0, why
	}
	if !known {
		n.hosts[f.src.addr] = h
		if len(n.external) > 0 {
			n.nextXP = (n.nextXP + 1) % len(n.external)
		}
	}
	h.tokens -= 1e9
	return n.adopt(h, mapping{
		proto: f.proto, kind: live, inner: f.src, outer: outer, born: now,
		remote: scope(f.dst, n.cfg.mapping(f.proto)), special: n.specialFor(f),
	}), NewMapping
}

// adopt inserts a mapping of a host that is in the table.
func (n *NAT) adopt(h *host, m mapping) uint32 {
	h.mappings++
	h.perProto.add(m.proto, 1)
	return n.insert(m)
}

// admit asks every bound whether a host may have one more mapping.
func (n *NAT) admit(h *host, proto byte, now int64) Reason {
	if n.live >= n.cfg.MaxMappings {
		return TableFull
	}
	limit := n.cfg.HostLimits.of(proto)
	if h.mappings >= n.cfg.MaxPerHost || limit > 0 && h.perProto.of(proto) >= limit {
		return HostLimitReached
	}
	if rate := int64(n.cfg.HostRate); rate > 0 {
		// Full after a second; the elapsed time is bounded before it is scaled.
		h.tokens = min(rate*1e9, h.tokens+min(now-h.filled, 1e9)*rate)
		h.filled = now
		if h.tokens < 1e9 {
			return HostTooFast
		}
	}
	return NewMapping
}

// allocate picks a free external endpoint. The host has the last word only
// where pools are paired: then even where that means failure (RFC 7857, 4).
func (n *NAT) allocate(f *flow, h *host) (endpoint, Reason) {
	if e, ok := n.suggested(f, h); ok {
		return e, NewMapping
	}
	if n.cfg.PortBlock > 0 && !f.other {
		return n.allocateInBlocks(f, h)
	}
	first := h.external
	if n.cfg.ArbitraryPooling {
		first = n.rng.IntN(len(n.external))
	}
	tries := 1
	if n.cfg.ArbitraryPooling || n.cfg.SoftPairing {
		tries = len(n.external)
	}
	for i := range tries {
		addr := n.external[(first+i)%len(n.external)]
		lo, hi := n.portRange(f)
		if port, ok := n.port(addr, f, lo, hi); ok {
			return endpoint{addr, port}, NewMapping
		}
	}
	return endpoint{}, PortsExhausted
}

// suggested are external endpoints that another mapping of the same host
// makes preferable.
func (n *NAT) suggested(f *flow, h *host) (endpoint, bool) {
	if n.cfg.ReuseSource {
		if i := n.findSource(f.proto, f.src); i != 0 && n.free(f, n.maps.at(i).outer) {
			return n.maps.at(i).outer, true
		}
	}
	if n.cfg.ProtocolIndependent {
		if i := n.findInner(sibling(f.proto), f.src, f.dst); i != 0 && n.free(f, n.maps.at(i).outer) {
			return n.maps.at(i).outer, true
		}
	}
	if n.cfg.Contiguity && f.proto == protoUDP {
		pair := endpoint{f.src.addr, f.src.port ^ 1}
		if i := n.findInner(f.proto, pair, f.dst); i != 0 {
			e := n.maps.at(i).outer
			e.port += f.src.port - pair.port
			if lo, hi := n.portRange(f); uint32(e.port) >= lo && uint32(e.port) <= hi && n.free(f, e) {
				return e, true
			}
		}
	}
	return endpoint{}, false
}

// sibling is the other of TCP and UDP, or no protocol.
func sibling(proto byte) byte {
	switch proto {
	case protoTCP:
		return protoUDP
	case protoUDP:
		return protoTCP
	}
	return 0
}

// free reports whether a new mapping may have the external endpoint e.
func (n *NAT) free(f *flow, e endpoint) bool {
	if n.cfg.Allocation == Overloading {
		return n.forwards[forwardKey{f.proto, e}].id == 0
	}
	if n.findOuter(f.proto, e, f.dst) != 0 {
		return false
	}
	if n.cfg.ProtocolIndependent {
		if i := n.findOuter(sibling(f.proto), e, f.dst); i != 0 && n.maps.at(i).inner != f.src {
			return false
		}
	}
	return true
}

// port picks a free port of an external address between lo and hi.
func (n *NAT) port(addr uint32, f *flow, lo, hi uint32) (uint16, bool) {
	own, stride := uint32(f.src.port), uint32(1)
	if n.cfg.Parity && f.proto != protoICMP && hi > 0 {
		stride = 2
		if lo&1 != own&1 {
			lo++
		}
	}
	if lo > hi {
		return 0, false
	}
	free := func(port uint32) bool { return n.free(f, endpoint{addr, uint16(port)}) }
	keeps := n.cfg.Allocation == Preserving || n.cfg.Allocation == Overloading
	if keeps && own >= lo && own <= hi && free(own) {
		return f.src.port, true
	}
	// The first of a pair looks for a port that leaves room for the second.
	if n.cfg.Contiguity && f.proto == protoUDP && own&1 == 0 {
		single := free
		free = func(port uint32) bool {
			return port&1 == 0 && port < hi && single(port) && single(port+1)
		}
		if p, ok := n.search(lo, hi, stride, free); ok {
			return p, true
		}
		free = single
	}
	return n.search(lo, hi, stride, free)
}

// search tries the ports lo, lo+stride ... hi in the order of the allocation.
func (n *NAT) search(lo, hi, stride uint32, free func(uint32) bool) (uint16, bool) {
	span := (hi-lo)/stride + 1
	var start uint32
	if n.cfg.Allocation == Sequential {
		start = (max(n.cursor, lo) - lo + stride - 1) / stride % span
	} else {
		start = n.rng.Uint32N(span)
	}
	probes := span
	if n.overlaps() {
		probes = min(span, overlapProbes)
	}
	for i := range probes {
		port := lo + (start+i)%span*stride
		if free(port) {
			n.cursor = port + uint32(n.cfg.Step)
			return uint16(port), true
		}
	}
	return 0, false
}

// portRange is the range for a flow: the configured one, or the class its
// internal port is in (RFC 4787, 4.2.1, REQ-3a). Identifiers of ICMP are no
// ports and have no classes; other protocols have only zero.
func (n *NAT) portRange(f *flow) (lo, hi uint32) {
	switch {
	case f.proto == protoICMP:
		return 0, 65535
	case f.proto != protoTCP && f.proto != protoUDP:
		return 0, 0
	case n.cfg.PortMax != 0:
		return uint32(n.cfg.PortMin), uint32(n.cfg.PortMax)
	case f.src.port < defaultPortMin:
		return 1, defaultPortMin - 1
	}
	return defaultPortMin, uint32(defaultPortMax)
}

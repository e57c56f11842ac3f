package nat

// overlapProbes bounds the search for a port whose tuple is free; with
// overlapping ports there is no cheap way to know that none is.
const overlapProbes = 128

// create makes a mapping for an outbound flow, or says why not.
func (n *NAT) create(f *flow, now int64) (*mapping, Reason) {
	if len(n.out) >= n.cfg.MaxMappings {
		n.stats.Refused++
		return nil, TableFull
	}
	h, known := n.hosts[f.src.addr]
	if known && h.mappings >= n.cfg.MaxPerHost {
		n.stats.Refused++
		return nil, HostLimitReached
	}
	if !known {
		h = &host{external: n.nextXP}
	}
	remote := scope(f.dst, n.cfg.Mapping)
	outer, ok := f.src, true
	if !n.cfg.NoTranslation {
		outer, ok = n.allocate(f, remote, h)
	}
	if !ok {
		n.stats.Refused++
		return nil, PortsExhausted
	}
	if !known {
		n.hosts[f.src.addr] = h
		if len(n.external) > 0 {
			n.nextXP = (n.nextXP + 1) % len(n.external)
		}
	}
	h.mappings++
	n.nextID++
	m := &mapping{id: n.nextID, proto: f.proto, inner: f.src, outer: outer, remote: remote, host: h}
	m.timer.mapping = m
	n.out[n.outKey(m.proto, m.inner, remote)] = m
	n.in[n.inKey(m.proto, outer, remote)] = m
	n.stats.Created++
	return m, NewMapping
}

// allocate picks a free external endpoint: on the host's own address if pools
// are paired, even where that means failure (RFC 7857, 4), else on any.
func (n *NAT) allocate(f *flow, remote endpoint, h *host) (endpoint, bool) {
	if !n.cfg.ArbitraryPooling {
		return n.allocateOn(n.external[h.external], f, remote)
	}
	first := n.rng.IntN(len(n.external))
	for i := range n.external {
		e, ok := n.allocateOn(n.external[(first+i)%len(n.external)], f, remote)
		if ok {
			return e, true
		}
	}
	return endpoint{}, false
}

func (n *NAT) allocateOn(addr uint32, f *flow, remote endpoint) (endpoint, bool) {
	free := func(port uint32) bool {
		_, used := n.in[n.inKey(f.proto, endpoint{addr, uint16(port)}, remote)]
		return !used
	}
	// Identifiers of ICMP are no ports: no classes, no parity.
	lo, hi, step := uint32(0), uint32(65535), uint32(1)
	if f.proto != protoICMP {
		lo, hi = n.portRange(f.src.port)
		if n.cfg.Parity {
			step = 2
			if lo&1 != uint32(f.src.port)&1 {
				lo++
			}
		}
	}
	if lo > hi {
		return endpoint{}, false
	}
	own := uint32(f.src.port)
	span := (hi-lo)/step + 1
	var start uint32
	switch n.cfg.Allocation {
	case Sequential:
		start = (max(n.cursor, lo) - lo + step - 1) / step % span
	default:
		if n.cfg.Allocation == Preserving && own >= lo && own <= hi && free(own) {
			return endpoint{addr, f.src.port}, true
		}
		start = n.rng.Uint32N(span)
	}
	probes := span
	if n.overlaps() {
		probes = min(span, overlapProbes)
	}
	for i := range probes {
		port := lo + (start+i)%span*step
		if free(port) {
			n.cursor = port + 1
			return endpoint{addr, uint16(port)}, true
		}
	}
	return endpoint{}, false
}

// portRange is the range for an internal port: the configured one, or the
// class the port is in (RFC 4787, 4.2.1, REQ-3a).
func (n *NAT) portRange(port uint16) (lo, hi uint32) {
	switch {
	case n.cfg.PortMax != 0:
		return uint32(n.cfg.PortMin), uint32(n.cfg.PortMax)
	case port < defaultPortMin:
		return 1, defaultPortMin - 1
	}
	return defaultPortMin, uint32(defaultPortMax)
}

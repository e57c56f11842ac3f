package igd

import (
	"errors"
	"net/netip"
	"time"

	"shipworm/testnet/nat"
)

// mapPCP processes MAP (RFC 6887, 11.3). out is the copied request; it becomes
// the answer.
func (r *Router) mapPCP(now time.Time, q pcpRequest, target netip.Addr, out []byte) ([]byte, time.Duration, int) {
	if q.protocol == 0 && q.internal != 0 {
		return out, 0, pcpMalformedRequest
	}
	if target.Is6() {
		return r.holePCP(now, q, target, out)
	}
	internal := netip.AddrPortFrom(target, q.internal)
	old := r.of(PCP, q.protocol, internal)
	if old != nil && old.nonce != q.nonce && (!r.q.anyNonce || q.lifetime == 0) {
		return out, old.Expires.Sub(now), pcpNotAuthorized
	}
	if q.lifetime == 0 {
		return r.pcpDelete(q, target, out)
	}
	if q.internal == 0 || q.protocol != protoTCP && q.protocol != protoUDP || !target.Is4() {
		return out, 0, pcpUnsupportedProtocol
	}
	if r.q.refusePrivate && private(r.external()) {
		return out, 0, pcpNoResources
	}
	var had netip.Prefix
	if old != nil {
		had = old.Remote
	}
	remote, code := oneFilter(had, q.filters)
	if code != 0 {
		return out, 0, code
	}
	life := r.lifetime(q.lifetime)
	m, code := r.pcpPlace(q, old, Mapping{
		Protocol: q.protocol, Internal: internal, External: q.external, Remote: remote,
		Description: "PCP", Expires: now.Add(life), By: PCP, nonce: q.nonce,
	})
	if code != 0 {
		return out, 0, code
	}
	return assigned(out[:pcpHeader+pcpMapBody], q, m.External), life, 0
}

// oneFilter adds the filters of a request to those of the mapping. The engine
// has one, of all ports of a prefix.
func oneFilter(had netip.Prefix, filters []pcpFilterOption) (netip.Prefix, int) {
	for _, f := range filters {
		switch {
		case !f.remote.IsValid():
			had = netip.Prefix{}
		case had.IsValid() && had != f.remote.Masked(), f.port != 0:
			return had, pcpExcessiveRemotePeers
		case !f.remote.Addr().Is4():
			return had, pcpMalformedOption
		default:
			had = f.remote.Masked()
		}
	}
	return had, 0
}

// pcpPlace makes a mapping or renews it.
func (r *Router) pcpPlace(q pcpRequest, old *Mapping, m Mapping) (*Mapping, int) {
	strict := q.prefer && !r.q.ignorePrefer
	if old != nil {
		if strict && q.external.Port() != old.External.Port() {
			return nil, pcpCannotProvide
		}
		m.External = old.External
		if old.Remote != m.Remote {
			if r.replace(old, m) != nil {
				return nil, pcpNoResources
			}
			return r.at(m.Protocol, m.External.Port()), 0
		}
		old.Expires, old.nonce = m.Expires, m.nonce
		return old, 0
	}
	if strict {
		a := q.external.Addr()
		m.External = netip.AddrPortFrom(r.external(), q.external.Port())
		if a != r.external() && !a.IsUnspecified() || m.External.Port() < lowestPort || r.add(m) != nil {
			return nil, pcpCannotProvide
		}
		return r.at(m.Protocol, m.External.Port()), 0
	}
	placed, err := r.pick(m, false)
	switch {
	case errors.Is(err, nat.ErrBadForward):
		return nil, pcpNotAuthorized
	case err != nil:
		return nil, pcpNoResources
	}
	return placed, 0
}

// pcpDelete ends the mappings that a request with lifetime 0 names (RFC 6887,
// 15.1). None is no error, by the RFC.
func (r *Router) pcpDelete(q pcpRequest, target netip.Addr, out []byte) ([]byte, time.Duration, int) {
	before := len(r.mappings)
	r.removeAll(func(m *Mapping) bool {
		return m.By == PCP && !m.peer.IsValid() && m.Internal.Addr() == target && m.nonce == q.nonce &&
			(q.protocol == 0 || m.Protocol == q.protocol) && (q.internal == 0 || m.Internal.Port() == q.internal)
	})
	if r.q.deleteSome && len(r.mappings) == before {
		return out, 0, pcpNoResources
	}
	return append(out[:pcpHeader+pcpMapBody], q.answer...), 0, 0
}

// peerPCP processes PEER (RFC 6887, 12.3). A mapping that the client has is
// confirmed; otherwise the remote address gets one of its own.
func (r *Router) peerPCP(now time.Time, q pcpRequest, target netip.Addr, out []byte) ([]byte, time.Duration, int) {
	internal := netip.AddrPortFrom(target, q.internal)
	switch {
	case q.internal == 0 || q.peer.Port() == 0 || q.peer.Addr().IsUnspecified():
		return out, 0, pcpMalformedRequest
	case q.protocol != protoTCP && q.protocol != protoUDP || !target.Is4() || !q.peer.Addr().Is4():
		return out, 0, pcpUnsupportedProtocol
	case r.q.refusePrivate && private(r.external()):
		return out, 0, pcpNoResources
	}
	var m *Mapping
	for _, x := range r.mappings {
		if x.Protocol == q.protocol && x.Internal == internal && (m == nil || x.peer == q.peer) {
			m = x
		}
	}
	if m != nil && m.peer.IsValid() && m.nonce != q.nonce {
		return out, m.Expires.Sub(now), pcpNotAuthorized
	}
	life := r.lifetime(q.lifetime)
	switch {
	case q.lifetime == 0:
		// Only its idle time ends a mapping that traffic may use (RFC 6887, 15.1).
		if m != nil && m.peer == q.peer {
			r.remove(m)
		}
		return append(out[:pcpHeader+pcpPeerBody], q.answer...), 0, 0
	case m == nil:
		var err error
		if m, err = r.pick(Mapping{
			Protocol: q.protocol, Internal: internal, External: q.external, By: PCP, nonce: q.nonce,
			Description: "PCP", Expires: now.Add(life), peer: q.peer,
			Remote: netip.PrefixFrom(q.peer.Addr(), q.peer.Addr().BitLen()),
		}, false); err != nil {
			return out, 0, pcpNoResources
		}
	case m.peer == q.peer:
		m.Expires = now.Add(life)
	}
	return assigned(out[:pcpHeader+pcpPeerBody], q, m.External), life, 0
}

// assigned writes the external endpoint into the body of an answer, whose
// options are those that were processed.
func assigned(out []byte, q pcpRequest, external netip.AddrPort) []byte {
	be.PutUint16(out[pcpHeader+18:], external.Port())
	a := external.Addr().As16()
	copy(out[pcpHeader+20:], a[:])
	return append(out, q.answer...)
}

package igd

import (
	"encoding/binary"
	"net/netip"
	"time"
)

var be = binary.BigEndian

// Result codes of NAT-PMP (RFC 6886, 3.5).
const (
	pmpUnsupportedVersion = 1
	pmpNotAuthorized      = 2
	pmpNetworkFailure     = 3
	pmpOutOfResources     = 4
	pmpUnsupportedOpcode  = 5
)

const pmpResponse = 0x80 // the bit of a response's opcode

// A pmpRequest is a request that is well-formed (RFC 6886, 3.2, 3.3).
type pmpRequest struct {
	opcode             byte // 0 external address, 1 map UDP, 2 map TCP
	internal, external uint16
	lifetime           uint32 // seconds
}

// parsePMP reads a request of version 0. It returns false for what is to be
// ignored, and an opcode above 2 for what is not supported.
func parsePMP(b []byte) (q pmpRequest, ok bool) {
	if len(b) < 2 || b[0] != 0 || b[1] >= pmpResponse {
		return q, false
	}
	q.opcode = b[1]
	switch q.opcode {
	case 1, 2:
		if len(b) < 12 {
			return q, false
		}
		q.internal, q.external, q.lifetime = be.Uint16(b[4:]), be.Uint16(b[6:]), be.Uint32(b[8:])
	}
	return q, true
}

// pmp answers a NAT-PMP request, or returns nil.
func (r *Router) pmp(now time.Time, from netip.AddrPort, b []byte) []byte {
	q, ok := parsePMP(b)
	if !ok {
		return nil
	}
	log := Request{Time: now, From: from, Protocol: NATPMP, Action: "external address"}
	var out []byte
	var result int
	switch q.opcode {
	case 0:
		out, result = r.pmpExternal(now)
	case 1, 2:
		log.Action = "map"
		log.Transport = [...]byte{1: protoUDP, 2: protoTCP}[q.opcode]
		log.Internal = netip.AddrPortFrom(from.Addr(), q.internal)
		log.External = q.external
		log.Lifetime = time.Duration(q.lifetime) * time.Second
		out, result = r.pmpMap(now, q, log.Transport, log.Internal)
	default:
		// The whole request comes back (RFC 6886, 3.5).
		log.Action, result = "unknown", pmpUnsupportedOpcode
		out = append([]byte(nil), b...)
		if len(out) < 8 {
			out = append(out, make([]byte, 8-len(out))...)
		}
		out[1] |= pmpResponse
		be.PutUint16(out[2:], pmpUnsupportedOpcode)
		be.PutUint32(out[4:], r.epoch(now))
	}
	log.Result = result
	r.record(log)
	return out
}

func (r *Router) pmpExternal(now time.Time) ([]byte, int) {
	out := make([]byte, 12)
	addr, result := r.external(), r.q.pmpError
	if fake := r.q.pmpExternal; fake.IsValid() {
		addr = fake
	} else if result == 0 && r.q.refusePrivate && private(addr) {
		result = pmpNetworkFailure
	}
	out[1] = pmpResponse
	be.PutUint16(out[2:], uint16(result))
	be.PutUint32(out[4:], r.epoch(now))
	if result == 0 {
		a := addr.As4()
		copy(out[8:], a[:])
	}
	return out, result
}

// pmpMap answers a mapping request (RFC 6886, 3.3 and 3.4).
func (r *Router) pmpMap(now time.Time, q pmpRequest, protocol byte, internal netip.AddrPort) ([]byte, int) {
	out := make([]byte, 16)
	out[1] = q.opcode | pmpResponse
	be.PutUint32(out[4:], r.epoch(now))
	be.PutUint16(out[8:], q.internal)
	result := r.q.pmpError
	switch {
	case result != 0:
	case q.lifetime == 0:
		result = r.pmpDelete(protocol, internal, q)
	case q.internal == 0 || r.q.refusePrivate && private(r.external()):
		result = pmpNetworkFailure
	default:
		m, life, code := r.pmpAdd(now, q, protocol, internal)
		if result = code; code == 0 {
			be.PutUint16(out[10:], m.External.Port())
			be.PutUint32(out[12:], uint32(life/time.Second))
		}
	}
	be.PutUint16(out[2:], uint16(result))
	return out, result
}

func (r *Router) pmpAdd(now time.Time, q pmpRequest, protocol byte, internal netip.AddrPort) (*Mapping, time.Duration, int) {
	life := r.lifetime(q.lifetime)
	if m := r.of(NATPMP, protocol, internal); m != nil {
		m.Expires = now.Add(life)
		return m, life, 0
	}
	m, err := r.pick(Mapping{
		Protocol: protocol, Internal: internal, External: netip.AddrPortFrom(r.external(), q.external),
		Description: "NAT-PMP", Expires: now.Add(life), By: NATPMP,
	}, true)
	if err != nil {
		return nil, 0, pmpOutOfResources
	}
	return m, life, 0
}

// pmpDelete ends a mapping, or with port 0 all those of the client in that
// protocol (RFC 6886, 3.4). One that is not there is no error.
func (r *Router) pmpDelete(protocol byte, internal netip.AddrPort, q pmpRequest) int {
	if q.internal == 0 && q.external != 0 {
		return pmpNotAuthorized
	}
	r.removeAll(func(m *Mapping) bool {
		return m.By == NATPMP && m.Protocol == protocol && m.Internal.Addr() == internal.Addr() &&
			(q.internal == 0 || m.Internal.Port() == q.internal)
	})
	return 0
}

// lifetime is what a client of NAT-PMP or PCP gets for the seconds that it
// asked.
func (r *Router) lifetime(asked uint32) time.Duration {
	life := time.Duration(asked) * time.Second
	life = max(life, r.q.minLife)
	if r.q.maxLife > 0 {
		life = min(life, r.q.maxLife)
	}
	return life
}

// pmpVersionError is how a router without PCP answers it (RFC 6886, 3.5).
func (r *Router) pmpVersionError(now time.Time) []byte {
	out := make([]byte, 8)
	be.PutUint16(out[2:], pmpUnsupportedVersion)
	be.PutUint32(out[4:], r.epoch(now))
	return out
}

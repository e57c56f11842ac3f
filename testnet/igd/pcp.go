package igd

import (
	"net/netip"
	"time"
)

// Opcodes, options and result codes of PCP (RFC 6887, 19).
const (
	pcpAnnounce = 0
	pcpMap      = 1
	pcpPeer     = 2

	pcpThirdParty    = 1
	pcpPreferFailure = 2
	pcpFilter        = 3

	pcpUnsupportedVersion   = 1
	pcpNotAuthorized        = 2
	pcpMalformedRequest     = 3
	pcpUnsupportedOpcode    = 4
	pcpUnsupportedOption    = 5
	pcpMalformedOption      = 6
	pcpNetworkFailure       = 7
	pcpNoResources          = 8
	pcpUnsupportedProtocol  = 9
	pcpCannotProvide        = 11
	pcpAddressMismatch      = 12
	pcpExcessiveRemotePeers = 13
)

// Sizes (RFC 6887, 7 and 11.1, 12.1).
const (
	pcpVersion   = 2
	pcpHeader    = 24
	pcpMapBody   = 36
	pcpPeerBody  = 56
	pcpMaxLen    = 1100
	pcpShortLife = 30 * time.Second // of errors that may pass soon (RFC 6887, 7.4)
	pcpLongLife  = 30 * time.Minute
)

// A pcpRequest is a request whose form is right.
type pcpRequest struct {
	opcode   byte
	lifetime uint32 // seconds
	client   netip.Addr

	nonce    [12]byte
	protocol byte
	internal uint16
	external netip.AddrPort // suggested
	peer     netip.AddrPort // of PEER

	thirdParty netip.Addr // set with the option
	prefer     bool       // PREFER_FAILURE
	filters    []pcpFilterOption
	option     bool   // any was there
	answer     []byte // options that the answer repeats
}

type pcpFilterOption struct {
	remote netip.Prefix // not set: delete all filters
	port   uint16
}

// parsePCP reads a request of version 2 in the order of RFC 6887, 8.2. The
// code is that of an error answer.
func parsePCP(b []byte) (q pcpRequest, code int) {
	if len(b) < pcpHeader {
		return q, pcpMalformedRequest
	}
	q.opcode, q.lifetime = b[1]&0x7f, be.Uint32(b[4:])
	q.client = netip.AddrFrom16([16]byte(b[8:24])).Unmap()
	if len(b) > pcpMaxLen || len(b)%4 != 0 {
		return q, pcpMalformedRequest
	}
	size := map[byte]int{pcpAnnounce: 0, pcpMap: pcpMapBody, pcpPeer: pcpPeerBody}
	n, ok := size[q.opcode]
	if !ok {
		return q, pcpUnsupportedOpcode
	}
	body := b[pcpHeader:]
	if len(body) < n {
		return q, pcpMalformedRequest
	}
	if n > 0 {
		q.nonce, q.protocol = [12]byte(body), body[12]
		q.internal = be.Uint16(body[16:])
		q.external = netip.AddrPortFrom(netip.AddrFrom16([16]byte(body[20:])).Unmap(), be.Uint16(body[18:]))
	}
	if q.opcode == pcpPeer {
		q.peer = netip.AddrPortFrom(netip.AddrFrom16([16]byte(body[40:])).Unmap(), be.Uint16(body[36:]))
	}
	return q, q.options(body[n:])
}

// options reads what follows the body (RFC 6887, 7.3 and 13).
func (q *pcpRequest) options(b []byte) int {
	for len(b) > 0 {
		if len(b) < 4 {
			return pcpMalformedOption
		}
		kind, n := b[0], int(be.Uint16(b[2:]))
		padded := 4 + (n+3)&^3
		if padded > len(b) {
			return pcpMalformedOption
		}
		data := b[4 : 4+n]
		q.option = true
		switch {
		case kind == pcpThirdParty && q.opcode != pcpAnnounce:
			if n != 16 || q.thirdParty.IsValid() {
				return pcpMalformedOption
			}
			q.thirdParty = netip.AddrFrom16([16]byte(data)).Unmap()
			q.answer = append(q.answer, b[:padded]...)
		case kind == pcpPreferFailure && q.opcode == pcpMap:
			if n != 0 || q.prefer || q.lifetime == 0 || q.external.Port() == 0 {
				return pcpMalformedOption
			}
			q.prefer = true
			q.answer = append(q.answer, b[:padded]...)
		case kind == pcpFilter && q.opcode == pcpMap:
			f, ok := parseFilter(data)
			if !ok || q.lifetime == 0 {
				return pcpMalformedOption
			}
			q.filters = append(q.filters, f)
			q.answer = append(q.answer, b[:padded]...)
		case kind < 0x80: // mandatory to process
			return pcpUnsupportedOption
		}
		b = b[padded:]
	}
	return 0
}

// parseFilter reads a FILTER (RFC 6887, 13.3).
func parseFilter(b []byte) (f pcpFilterOption, ok bool) {
	if len(b) != 20 {
		return f, false
	}
	bits := int(b[1])
	f.port = be.Uint16(b[2:])
	if bits == 0 {
		return f, true
	}
	addr := netip.AddrFrom16([16]byte(b[4:]))
	if addr.Is4In6() {
		addr, bits = addr.Unmap(), bits-96
	}
	p, err := addr.Prefix(bits)
	f.remote = p
	return f, err == nil
}

// pcp answers a PCP request, or returns nil.
func (r *Router) pcp(now time.Time, from netip.AddrPort, b []byte) []byte {
	if len(b) < pcpHeader {
		return nil
	}
	q, code := parsePCP(b)
	name := map[byte]string{pcpAnnounce: "ANNOUNCE", pcpMap: "MAP", pcpPeer: "PEER"}[q.opcode]
	if name == "" {
		name = "unknown"
	}
	log := Request{Time: now, From: from, Protocol: PCP, Action: name}
	target := q.client
	if q.thirdParty.IsValid() {
		target = q.thirdParty
	}
	if q.protocol == protoTCP || q.protocol == protoUDP {
		log.Transport, log.Internal, log.External = q.protocol, netip.AddrPortFrom(target, q.internal), q.external.Port()
		log.Lifetime = time.Duration(q.lifetime) * time.Second
	}
	out := append([]byte(nil), b[:min(len(b), pcpMaxLen)]...)
	out[1] |= 0x80
	life := time.Duration(0)
	switch {
	case code != 0:
	case r.q.pcpError != 0:
		code = r.q.pcpError
	case q.client != from.Addr():
		code = pcpAddressMismatch
	case q.thirdParty.IsValid() && !r.q.thirdParty:
		code = pcpUnsupportedOption
	case q.thirdParty == q.client:
		code = pcpMalformedRequest // RFC 6887, 13.1
	case q.opcode == pcpMap:
		out, life, code = r.mapPCP(now, q, target, out)
	case q.opcode == pcpPeer:
		out, life, code = r.peerPCP(now, q, target, out)
	}
	if code != 0 && life == 0 {
		life = pcpLongLife
		if code == pcpNetworkFailure || code == pcpNoResources || code == pcpCannotProvide {
			life = pcpShortLife
		}
	}
	log.Result = code
	r.record(log)
	return r.pcpHead(now, out, code, life)
}

// pcpHead completes the header of an answer (RFC 6887, 7.2).
func (r *Router) pcpHead(now time.Time, out []byte, code int, life time.Duration) []byte {
	for len(out)%4 != 0 {
		out = append(out, 0)
	}
	out[0], out[2], out[3] = pcpVersion, 0, byte(code)
	be.PutUint32(out[4:], uint32(life/time.Second))
	be.PutUint32(out[8:], r.epoch(now))
	clear(out[12:24])
	return out
}

// pcpVersionError answers another version, NAT-PMP's 0 too (RFC 6887, 9).
func (r *Router) pcpVersionError(now time.Time, from netip.AddrPort, b []byte) []byte {
	out := make([]byte, pcpHeader)
	out[1] = 0x80
	if len(b) > 1 {
		out[1] |= b[1]
	}
	return r.pcpHead(now, out, pcpUnsupportedVersion, pcpLongLife)
}

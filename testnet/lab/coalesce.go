package lab

import (
	"bytes"
	"math"

	"shipworm/testnet/internal/ip"
	"shipworm/testnet/internal/ipv4"
)

// A run collects segments of one TCP connection that arrive one after another
// at the same moment, as a network card does for its kernel, so that they are
// handed over in one piece. A packet that is not whole and right is never part
// of one: it is the kernel's to refuse.
type run struct {
	buf     []byte // the packet so far; empty when there is none
	header  int    // length of the IP header
	headers int    // and of all headers
	segment int    // payload bytes of each but the last
	count   int
	next    uint32 // sequence number
	ended   bool   // by a short segment or a push
}

const (
	tcpPSH = 8
	tcpACK = 16
)

// start begins a run with pkt; false if pkt cannot be part of one.
func (r *run) start(pkt []byte) bool {
	pkt, header, headers, ok := parseSegment(pkt)
	if !ok {
		return false
	}
	if cap(r.buf) == 0 {
		r.buf = make([]byte, 0, math.MaxUint16)
	}
	r.buf = append(r.buf[:0], pkt...)
	r.header, r.headers, r.segment, r.count = header, headers, len(pkt)-headers, 1
	r.next = be.Uint32(pkt[header+4:]) + uint32(r.segment)
	r.ended = pkt[header+13]&tcpPSH != 0
	return true
}

// add continues the run with pkt; false if that does not follow.
func (r *run) add(pkt []byte) bool {
	if r.count == 0 || r.ended || len(r.buf)+len(pkt) > math.MaxUint16 {
		return false
	}
	pkt, header, headers, ok := parseSegment(pkt)
	payload := len(pkt) - headers
	if !ok || header != r.header || headers != r.headers || payload > r.segment || !r.follows(pkt) {
		return false
	}
	r.buf = append(r.buf, pkt[headers:]...)
	r.buf[header+13] |= pkt[header+13]
	r.next += uint32(payload)
	r.count++
	r.ended = payload < r.segment || pkt[header+13]&tcpPSH != 0
	return true
}

// parseSegment returns, without link padding, a TCP segment with payload,
// without IP options, with no flags but ACK and PSH, and whose checksum is
// right, and the lengths of its IP header and of all.
func parseSegment(b []byte) (pkt []byte, header, headers int, ok bool) {
	pkt, header, ok = network(b)
	if !ok || protocol(pkt) != ipv4.TCP || !ip.Is6(pkt) && header != ipv4.HeaderLen {
		return nil, 0, 0, false
	}
	_, headers, ok = transport(pkt, header)
	if !ok || headers == len(pkt) || pkt[header+13]&^tcpPSH != tcpACK || !ip.ChecksumsOK(pkt) {
		return nil, 0, 0, false
	}
	return pkt, header, headers, true
}

// follows reports whether all that must be equal in two headers is, and the
// sequence number is the next.
func (r *run) follows(pkt []byte) bool {
	tcp := r.header
	same := func(from, to int) bool { return bytes.Equal(r.buf[from:to], pkt[from:to]) }
	if ip.Is6(pkt) {
		if !same(0, 4) || !same(6, tcp) { // all but the length
			return false
		}
	} else if !same(0, 2) || // version, traffic class
		!same(6, 10) || // fragment, time to live, protocol
		!same(12, tcp) { // addresses
		return false
	}
	return same(tcp, tcp+4) && // ports
		be.Uint32(pkt[tcp+4:]) == r.next &&
		same(tcp+8, tcp+13) && // acknowledgement, header length
		same(tcp+14, tcp+16) && // window
		same(tcp+18, r.headers) // options
}

// take returns the run as one packet and what there is still to do to it, and
// ends it. The packet is valid until the next start.
func (r *run) take() (vnetHeader, []byte) {
	pkt, count := r.buf, r.count
	r.count, r.buf = 0, r.buf[:0]
	if count == 1 {
		return vnetHeader{}, pkt
	}
	setLength(pkt, r.header)
	h := vnetHeader{flags: vnetNeedsChecksum, gsoType: gsoTCP4, segment: uint16(r.segment)}
	if ip.Is6(pkt) {
		h.gsoType = gsoTCP6
	}
	return h.unfinished(pkt), pkt
}

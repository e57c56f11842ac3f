package nat

import "shipworm/testnet/internal/ipv4"

// gateway is a generic ALG: it hunts for an address in a UDP payload and puts
// another in its place, with the port beside it where there is one: before it
// as in STUN's MAPPED-ADDRESS, or after it as in most other protocols. Only
// binary spellings are found; those in text would change the length.
func gateway(pkt []byte, f *flow, from, to endpoint) {
	if f.proto != protoUDP || from == to {
		return
	}
	b := pkt[f.header+8 : f.header+min(int(be.Uint16(pkt[f.header+4:])), len(pkt)-f.header)]
	var d ipv4.Delta
	for at := 0; at+4 <= len(b); at++ {
		if be.Uint32(b[at:]) != from.addr {
			continue
		}
		var field [4]byte
		be.PutUint32(field[:], to.addr)
		patch(b, at, field[:], &d)
		be.PutUint16(field[:], to.port)
		switch {
		case at >= 2 && be.Uint16(b[at-2:]) == from.port:
			patch(b, at-2, field[:2], &d)
		case at+6 <= len(b) && be.Uint16(b[at+4:]) == from.port:
			patch(b, at+4, field[:2], &d)
		}
		d = ipv4.Delta(ipv4.Fold(uint32(d))) // many changes must not overflow it
		at += 3
	}
	mend(pkt, protoUDP, f.header, d)
}

// patch writes v at an offset of a payload that begins at an even offset of
// its datagram, and records what that does to the checksum.
func patch(b []byte, at int, v []byte, d *ipv4.Delta) {
	for i, c := range v {
		shift := 8 * (1 - (at+i)&1) // the high or the low half of its word
		d.Replace16(uint16(b[at+i])<<shift, uint16(c)<<shift)
		b[at+i] = c
	}
}

package tun

import (
	"net/netip"
	"time"

	"shipworm/teredo/wire"
)

const (
	answerRate  = 10 // a second; requirement T-26
	quotedBytes = wire.MTU - wire.HeaderSize - 8
)

// answers builds the errors for packets that may not enter the tunnel, no more
// than answerRate in any second.
type answers struct {
	sent [answerRate]time.Time // a ring
	next int
	buf  []byte
}

// prohibited returns the answer to b, an IPv6 packet to a unicast address: an
// ICMPv6 error "communication administratively prohibited" (RFC 4443, 3.1), or
// nil if there is to be none (RFC 4443, 2.4). It is valid until the next call.
func (a *answers) prohibited(now time.Time, b []byte) []byte {
	p := wire.Packet(b)
	src := p.Source()
	if !src.IsGlobalUnicast() || isError(p) {
		return nil
	}
	if oldest := a.sent[a.next]; !oldest.IsZero() && now.Sub(oldest) < time.Second {
		return nil
	}
	a.sent[a.next] = now
	a.next = (a.next + 1) % len(a.sent)
	a.buf = wire.AppendProhibited(a.buf[:0], router(), src, b[:min(len(b), quotedBytes)])
	return a.buf
}

// router is who speaks: nobody else is on the link.
func router() netip.Addr { return netip.MustParseAddr("fe80::1") }

// isError reports whether p is an ICMPv6 error, or may be: its type is then
// below 128.
func isError(p wire.Packet) bool {
	proto, offset, err := p.Upper()
	return err != nil || proto == wire.ProtoFragment || proto == wire.ProtoICMPv6 && (len(p) <= offset || p[offset] < wire.TypeEchoRequest)
}

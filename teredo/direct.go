package teredo

import (
	"time"

	"shipworm/teredo/packet"
	"shipworm/teredo/udp"
)

// sendDirect sends a packet of the userspace stack's at once, if nothing but
// that is to be done for it. It is called under the stack's locks, once at a
// time, and waits for nothing: whoever has the machine may be about to call the
// stack, and whoever waits for room in the socket holds up what arrives.
func (r *running) sendDirect(pkt []byte) bool {
	if !r.mu.TryLock() {
		return false
	}
	now := time.Now()
	socket, ok := r.socket.(udp.NowWriter)
	ok = ok && r.machine.SendReady(now, pkt, &r.direct)
	if ok {
		r.gate.used = now
	}
	r.mu.Unlock()
	if !ok {
		return false
	}
	t := r.direct.Transmit[0]
	r.direct.Reset()
	var p packet.Packet
	p.Set(t.Payload, t.To)
	p.TTL = t.TTL
	return socket.WriteNow(p)
}

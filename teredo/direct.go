package teredo

import "time"

// sendDirect sends a packet of the userspace stack's at once, if nothing but
// that is to be done for it. It is called under the stack's locks and waits for
// none: whoever has the machine may be about to call the stack.
func (r *running) sendDirect(pkt []byte) bool {
	if !r.mu.TryLock() {
		return false
	}
	now := time.Now()
	ready := r.machine.SendReady(now, pkt, &r.direct.out)
	if ready {
		r.gate.used = now
	}
	r.mu.Unlock()
	if ready {
		r.transmit(r.socket, &r.direct, r.direct.out.Transmit)
		r.direct.out.Reset()
	}
	return ready
}

package adversary

import (
	"net/netip"
	"time"

	"shipworm/testnet/sim"
)

// A Reply is what a Responder sends.
type Reply struct {
	From    netip.AddrPort // zero: the address of the Responder
	To      netip.AddrPort // zero: the sender of that datagram
	Payload []byte
	After   time.Duration
}

// A Responder is a rogue server, relay or peer: it has an address of its own
// and lies in what it says. The lies are those of Answer.
type Responder struct {
	// Answer returns the replies to a datagram; payload is valid during the
	// call. Nil never answers.
	Answer func(now time.Time, from netip.AddrPort, payload []byte) []Reply

	world *sim.World
	host  *sim.Host
	local netip.AddrPort
	mouth
}

// Attach binds a UDP port of h, on its first address if that of local is not
// valid.
func (r *Responder) Attach(w *sim.World, h *sim.Host, local netip.AddrPort) error {
	if !local.Addr().IsValid() {
		local = netip.AddrPortFrom(h.Addr(), local.Port())
	}
	r.world, r.host = w, h
	u, err := h.BindUDPAddr(local, r.receive)
	if err != nil {
		return err
	}
	r.local = u.LocalAddr()
	return nil
}

func (r *Responder) receive(now time.Time, from netip.AddrPort, payload []byte) {
	r.stats.Seen++
	if r.Answer == nil {
		return
	}
	for _, reply := range r.Answer(now, from, payload) {
		if !reply.To.IsValid() {
			reply.To = from
		}
		r.Say(reply)
	}
}

// Say sends a reply to nothing; its To must be set.
func (r *Responder) Say(reply Reply) {
	if !reply.From.IsValid() {
		reply.From = r.local
	}
	if reply.After > 0 {
		payload := append([]byte(nil), reply.Payload...)
		r.world.At(r.world.Now().Add(reply.After), func() { r.send(reply.From, reply.To, payload) })
		return
	}
	r.send(reply.From, reply.To, reply.Payload)
}

func (r *Responder) send(from, to netip.AddrPort, payload []byte) {
	if pkt := r.udp(from, to, payload); pkt != nil {
		r.host.SendForged(pkt)
	}
}

// Local returns the address it answers on.
func (r *Responder) Local() netip.AddrPort { return r.local }

// Stats returns the counters.
func (r *Responder) Stats() Stats { return r.stats }

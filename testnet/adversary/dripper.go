package adversary

import (
	"net/netip"
	"time"

	"shipworm/testnet/sim"
)

// A Dripper is a slow loris. Over UDP that is: many conversations that each
// begin like an honest one, say the next thing just before the other side would
// forget them, and never get anywhere: half a QUIC handshake, one bubble every
// 29 seconds.
type Dripper struct {
	Conversations int           // how many; they open within the first Every
	Every         time.Duration // between two datagrams of one conversation
	To            netip.AddrPort
	// From returns the source of a conversation, see [Sources]. Nil means
	// ports of the host's own, from 20000 up; only then are answers seen.
	From func(conversation int) netip.AddrPort
	// Payload returns what a conversation says as its step-th datagram; nil
	// ends it. It is copied.
	Payload func(conversation, step int, from netip.AddrPort) []byte

	world *sim.World
	host  *sim.Host
	open  int
	stop  bool
	mouth
}

// dripPort is the first port of a Dripper without forged sources.
const dripPort = 20000

// Attach starts the conversations from h, at the world's time. It fails if a
// port it needs is taken.
func (d *Dripper) Attach(w *sim.World, h *sim.Host) error {
	d.world, d.host = w, h
	for c := range d.Conversations {
		if d.From == nil {
			_, err := h.BindUDP(uint16(dripPort+c), func(time.Time, netip.AddrPort, []byte) { d.stats.Seen++ })
			if err != nil {
				return err
			}
		}
		d.open++
		w.At(w.Now().Add(d.Every*time.Duration(c)/time.Duration(d.Conversations)), func() { d.drip(c, 0) })
	}
	return nil
}

func (d *Dripper) drip(c, step int) {
	from := netip.AddrPortFrom(d.host.Addr(), uint16(dripPort+c))
	if d.From != nil {
		from = d.From(c)
	}
	payload := d.Payload(c, step, from)
	if d.stop || payload == nil {
		d.open--
		return
	}
	if pkt := d.udp(from, d.To, payload); pkt != nil {
		d.host.SendForged(pkt)
	}
	d.world.At(d.world.Now().Add(d.Every), func() { d.drip(c, step+1) })
}

// Open returns how many conversations go on.
func (d *Dripper) Open() int { return d.open }

// Stop ends each conversation before its next datagram.
func (d *Dripper) Stop() { d.stop = true }

// Stats returns the counters. Seen counts answers.
func (d *Dripper) Stats() Stats { return d.stats }

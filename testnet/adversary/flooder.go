package adversary

import (
	"net/netip"
	"time"

	"shipworm/testnet/sim"
)

// floodTick is how often a Flooder sends its share.
const floodTick = time.Millisecond

// A Flooder sends datagrams at a steady rate.
type Flooder struct {
	Rate int           // packets a second
	Time time.Duration // how long; 0 = until Stop
	To   netip.AddrPort
	// From returns the source of the i-th datagram, see [Sources]. Nil means
	// the host's own address, port 40000.
	From func(i int) netip.AddrPort
	// Payload returns the content of the i-th datagram. It is copied.
	Payload func(i int, from netip.AddrPort) []byte

	world *sim.World
	host  *sim.Host
	began time.Time
	asked int
	stop  bool
	mouth
}

// Attach starts the flood from h, at the world's time.
func (f *Flooder) Attach(w *sim.World, h *sim.Host) {
	f.world, f.host, f.began = w, h, w.Now()
	w.At(f.began, f.tick)
}

func (f *Flooder) tick() {
	if f.stop {
		return
	}
	age := f.world.Now().Sub(f.began)
	last := f.Time > 0 && age >= f.Time
	if last {
		age = f.Time
	}
	// Rate*age in nanoseconds would overflow after hours of a fast flood.
	due := f.Rate*int(age/time.Second) + int(int64(f.Rate)*int64(age%time.Second)/int64(time.Second))
	for ; f.asked < due; f.asked++ {
		from := netip.AddrPortFrom(f.host.Addr(), 40000)
		if f.From != nil {
			from = f.From(f.asked)
		}
		if pkt := f.udp(from, f.To, f.Payload(f.asked, from)); pkt != nil {
			f.host.SendForged(pkt)
		}
	}
	if !last {
		f.world.At(f.world.Now().Add(floodTick), f.tick)
	}
}

// Stop ends the flood.
func (f *Flooder) Stop() { f.stop = true }

// Stats returns the counters.
func (f *Flooder) Stats() Stats { return f.stats }

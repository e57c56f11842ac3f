package adversary

import (
	"net/netip"
	"time"

	"shipworm/testnet/sim"
)

// defaultKeep is how many packets a Replayer keeps at most.
const defaultKeep = 1024

// A Captured is a packet that a Replayer kept.
type Captured struct {
	Time   time.Time
	Up     bool
	Packet []byte
}

// Datagram returns the UDP datagram in it; ok is false if it is none.
func (c Captured) Datagram() (from, to netip.AddrPort, payload []byte, ok bool) {
	return datagram(c.Packet)
}

// A Replayer listens on a line, lets everything pass, and plays what it
// captured again, byte by byte.
type Replayer struct {
	Name string // in traces; "" means "replayer"
	// Match says which packets to keep; nil keeps all.
	Match func(p *sim.Passage) bool
	// Keep bounds how many are kept, the first ones; 0 means 1024.
	Keep int
	// After, if not 0, plays each packet again so long after it passed, on the
	// same line and in the same direction.
	After time.Duration

	world    *sim.World
	tap      *sim.Tap
	captured []Captured
	gone     bool // After is over
	mouth
}

// Attach begins to listen on a line.
func (r *Replayer) Attach(w *sim.World, l Line) {
	r.world = w
	r.tap = l.Tap(or(r.Name, "replayer"), r.passage)
}

func (r *Replayer) passage(p *sim.Passage) {
	r.stats.Seen++
	keep := r.Keep
	if keep == 0 {
		keep = defaultKeep
	}
	if len(r.captured) >= keep || r.Match != nil && !r.Match(p) {
		return
	}
	c := Captured{p.Time, p.Up, append([]byte(nil), p.Packet...)}
	r.captured = append(r.captured, c)
	if r.After > 0 {
		r.world.At(p.Time.Add(r.After), func() {
			if !r.gone {
				r.Replay(c)
			}
		})
	}
}

// Captured returns what was kept, in order.
func (r *Replayer) Captured() []Captured { return r.captured }

// Replay plays a packet now, on the line and in its direction.
func (r *Replayer) Replay(c Captured) {
	r.made(c.Packet)
	r.tap.Inject(c.Packet, c.Up)
}

// ReplayFrom plays a packet from a host somewhere else, with the sources it
// had.
func (r *Replayer) ReplayFrom(h *sim.Host, c Captured) {
	r.made(c.Packet)
	h.SendForged(c.Packet)
}

// Detach stops listening, and what After has planned. Replay goes on.
func (r *Replayer) Detach() {
	r.gone = true
	r.tap.Remove()
}

// Stats returns the counters.
func (r *Replayer) Stats() Stats { return r.stats }

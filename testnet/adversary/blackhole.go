package adversary

import (
	"net/netip"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/sim"
)

// A BlackHole is a line on which some packets vanish without a word. The zero
// value swallows all.
type BlackHole struct {
	Name string // in traces; "" means "black hole"
	// Direction restricts it to packets towards the network (Up) or the node
	// (Down).
	Direction Direction
	// Remote, if it has any, restricts it to packets to (going up) or from
	// (coming down) these addresses.
	Remote []netip.Prefix
	// Match, if not nil, must hold too.
	Match func(p *sim.Passage) bool

	tap   *sim.Tap
	stats Stats
}

// A Direction of a line.
type Direction uint8

// Directions.
const (
	Both Direction = iota
	Up
	Down
)

// Attach opens the hole on a line.
func (b *BlackHole) Attach(l Line) { b.tap = l.Tap(or(b.Name, "black hole"), b.passage) }

func (b *BlackHole) passage(p *sim.Passage) {
	b.stats.Seen++
	if b.Direction == Up && !p.Up || b.Direction == Down && p.Up || !b.concerns(p) || b.Match != nil && !b.Match(p) {
		return
	}
	b.stats.Swallowed++
	p.Drop = true
}

func (b *BlackHole) concerns(p *sim.Passage) bool {
	if len(b.Remote) == 0 {
		return true
	}
	pkt, _, ok := ipv4.Check(p.Packet)
	if !ok {
		return false
	}
	remote := ipv4.Src(pkt)
	if p.Up {
		remote = ipv4.Dst(pkt)
	}
	for _, r := range b.Remote {
		if r.Contains(ipv4.Addr(remote)) {
			return true
		}
	}
	return false
}

// Detach closes the hole.
func (b *BlackHole) Detach() { b.tap.Remove() }

// Stats returns the counters.
func (b *BlackHole) Stats() Stats { return b.stats }

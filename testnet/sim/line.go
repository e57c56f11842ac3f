package sim

import (
	"fmt"
	"time"

	"shipworm/testnet/internal/ip"
	"shipworm/testnet/link"
)

// A node is what hangs at the far end of a line.
type node interface {
	// arrive takes ownership of the packet.
	arrive(p *buffer)
}

// A line joins a node to a network, with one link for each direction.
type line struct {
	world    *World
	name     string
	net      *network
	end      node
	up, down *link.Link
	upName   string
	downName string
	taps     []*Tap
}

func (w *World) newLine(name string, c link.Config, net *network, end node) (*line, error) {
	l := &line{world: w, name: name, net: net, end: end, upName: name + "/up", downName: name + "/down"}
	var err error
	own := c.Seed
	c.Seed = w.seedFor(own, l.upName)
	if l.up, err = link.New(c); err != nil {
		return nil, fmt.Errorf("sim: %s: %w", name, err)
	}
	c.Seed = w.seedFor(own, l.downName)
	l.down, err = link.New(c)
	return l, err
}

// send puts a packet on the line towards the network (up) or the node, and
// takes ownership of it. False reports that the line's MTU is too small: then
// the caller still owns the packet.
func (l *line) send(p *buffer, up bool) bool {
	w, dir, name := l.world, l.down, l.downName
	if up {
		dir, name = l.up, l.upName
	}
	w.number(p)
	d := dir.Send(w.Now(), len(p.b))
	if d.Reason == link.TooBig {
		return l.fragment(p, up, dir.Config().MTU)
	}
	l.show(p, up, len(d.Times()))
	times := d.Times()
	if len(times) == 0 {
		w.drop(name, p, d.Reason.String())
		return true
	}
	for i, t := range times {
		if w.inside >= MaxInFlight {
			w.stats.Busy++
			w.drop(name, p, reasonBusy)
			return true
		}
		// The next copy is made before this one may be spoilt.
		var next *buffer
		if i+1 < len(times) && w.inside+1 < MaxInFlight {
			next = w.buffers.twin(p, p.b)
			next.duplicate = true
		}
		if d.Corrupted(i) {
			d.Corrupt(i, p.b)
			l.corrupted(p, name)
		}
		w.inside++
		w.push(event{at: int64(t.Sub(w.start)), line: l, up: up, pkt: p})
		if p = next; p == nil {
			return true
		}
	}
	return true
}

// number gives a packet its number in the world, once.
func (w *World) number(p *buffer) {
	if p.id == 0 {
		w.packets++
		p.id = w.packets
	}
}

// emit makes a packet that a node sends.
func (w *World) emit(node string, pkt []byte) *buffer {
	p := w.buffers.copy(pkt)
	w.number(p)
	w.note(node, Sent, "", p)
	return p
}

// corrupted marks a packet in which the line has flipped a bit. The trace has
// it at once, as it has a loss.
func (l *line) corrupted(p *buffer, name string) {
	w := l.world
	p.corrupted = true
	w.stats.Corrupted++
	w.note(name, Corrupted, flipped, p)
}

// show has the watchers see a packet.
func (l *line) show(p *buffer, up bool, copies int) {
	w := l.world
	if len(w.watchers) == 0 {
		return
	}
	t := Transit{
		Time: w.Now(), Line: l.way(up), Up: up, ID: p.id,
		Copies: copies, Duplicate: p.duplicate, Forged: p.forged, Corrupted: p.corrupted, Packet: p.b,
	}
	for _, f := range w.watchers {
		f(t)
	}
}

// way is the name of the line in one direction.
func (l *line) way(up bool) string {
	if up {
		return l.upName
	}
	return l.downName
}

// emerge lets a packet leave the line.
func (l *line) emerge(p *buffer, up bool) {
	if up {
		l.net.route(p, l)
	} else {
		l.end.arrive(p)
	}
}

// drop ends the life of a packet.
func (w *World) drop(node string, p *buffer, why string) {
	w.stats.Dropped++
	w.note(node, Dropped, why, p)
	w.buffers.release(p)
}

// setLink changes both directions.
func (l *line) setLink(c link.Config) error {
	if err := l.up.SetConfig(c); err != nil {
		return err
	}
	return l.down.SetConfig(c)
}

// A Transit is a packet at the moment it is put on a line, before the line's
// luck.
type Transit struct {
	Time time.Time
	Line string // name of the node and the direction: "alice/up"
	Up   bool   // from the node towards its network
	// ID numbers the packets of a world. A packet keeps it through routers, and
	// shares it with the copies and fragments that the network makes of it.
	ID uint64
	// Copies is how many will come out at the other end of the line: 0 if it
	// is lost, 2 if the line duplicates it.
	Copies int
	// Duplicate tells that the packet is the second copy that a line made of
	// one (link.Config.Duplicate), here or before.
	Duplicate bool
	// Forged tells that an adversary made or changed the packet ([Host.Tap],
	// [Host.SendForged]), so that it says nothing about those who keep to the
	// rules.
	Forged bool
	// Corrupted tells that an earlier line flipped a bit of the packet
	// (link.Config.Corrupt), so that its checksums may be wrong.
	Corrupted bool
	Packet    []byte // valid during the call, must not be changed
}

// String returns time of day, line and packet in one line.
func (t Transit) String() string {
	return fmt.Sprintf("%s %s: %s", t.Time.Format("15:04:05.000000"), t.Line, ip.Summary(t.Packet))
}

// Watch adds a function that sees every packet put on every line. Tests
// install their invariants with it; see [NoRepeat].
func (w *World) Watch(f func(Transit)) { w.watchers = append(w.watchers, f) }

package sim

import (
	"bytes"
	"slices"
	"time"
)

// A Tap is a place on a line where somebody sits who can see, change, drop,
// hold back and add packets, in both directions. It sits at the far end of the
// line: watchers see on the line what was put there, and once more, marked
// forged, what the tap made of it.
type Tap struct {
	line *line
	name string
	f    func(*Passage)
}

// A Passage is a packet on its way through a tap. Left as it is, it passes.
type Passage struct {
	Time   time.Time
	Line   string // name of the node and the direction: "alice/up"
	Up     bool   // from the node towards its network
	Forged bool   // an adversary made or changed it before

	// Packet may be changed in place or replaced. It is valid during the call;
	// a replacement is copied after it.
	Packet []byte
	// Drop swallows the packet.
	Drop bool
	// Delay holds the packet back; those behind it overtake it.
	Delay time.Duration
}

// Tap puts a tap on the host's line; name appears in traces. Of several taps
// each sees what the one before lets through. f runs inside Advance: it may
// send, inject, bind and call At, but not Advance or Do.
func (h *Host) Tap(name string, f func(*Passage)) *Tap { return h.line.tap(name, f) }

// Tap puts a tap on the router's uplink, as Tap of a host does.
func (r *Router) Tap(name string, f func(*Passage)) *Tap { return r.line.tap(name, f) }

func (l *line) tap(name string, f func(*Passage)) *Tap {
	t := &Tap{line: l, name: name, f: f}
	l.taps = append(l.taps, t)
	return t
}

// Remove takes the tap off its line. What it holds back still arrives.
func (t *Tap) Remove() {
	// A new slice, for the old one may be in use by tapped.
	t.line.taps = slices.DeleteFunc(slices.Clone(t.line.taps), func(o *Tap) bool { return o == t })
}

// Inject sends a packet, copied, from the tap towards the network (up) or
// the node. No tap of the line sees it, and it comes behind the packet that is
// passing, if there is one.
func (t *Tap) Inject(pkt []byte, up bool) {
	l := t.line
	w := l.world
	p := w.buffers.copy(pkt)
	t.forge(p, up)
	l.later(p, up, 0)
}

// forge marks a packet and shows it to watchers and trace.
func (t *Tap) forge(p *buffer, up bool) {
	w := t.line.world
	w.number(p)
	p.forged = true
	w.stats.Forged++
	w.note(t.line.way(up), Forged, t.name, p)
	t.line.show(p, up, 1)
}

// tapped leads a packet that has crossed the line past its taps.
func (l *line) tapped(p *buffer, up bool) {
	w := l.world
	var hold time.Duration
	for _, t := range l.taps {
		before := w.buffers.copy(p.b)
		q := Passage{Time: w.Now(), Line: l.way(up), Up: up, Forged: p.forged, Packet: p.b}
		t.f(&q)
		changed := !bytes.Equal(q.Packet, before.b)
		w.buffers.release(before)
		if q.Drop {
			w.drop(q.Line, p, "swallowed by "+t.name)
			return
		}
		if changed {
			n := w.buffers.twin(p, q.Packet)
			w.buffers.release(p)
			p = n
			t.forge(p, up)
		}
		hold += max(0, q.Delay)
	}
	if hold > 0 {
		l.later(p, up, hold)
		return
	}
	l.emerge(p, up)
}

// later lets a packet leave the line after d, past its taps.
func (l *line) later(p *buffer, up bool, d time.Duration) {
	w := l.world
	if w.inside >= MaxInFlight {
		w.stats.Busy++
		w.drop(l.way(up), p, reasonBusy)
		return
	}
	w.inside++
	w.push(event{at: w.now + int64(d), line: l, up: up, past: true, pkt: p})
}

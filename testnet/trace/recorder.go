// Package trace records what happens to the packets of a simulated network and
// tells it in the forms that engineers read: pcapng for Wireshark with a
// comment on each packet that says who decided what about it and why, a packet
// ladder for Mermaid, aligned text, and JSON.
//
// A [Recorder] listens to a sim.World. It follows each packet from hop to hop,
// through translation too, and gives all sightings of it one number, its
// journey. What it holds is bounded; what it had to leave out is counted. A
// [Trace] is an immutable copy, filtered if wanted, with the writers. The same
// world and seed give the same bytes in every format.
//
// Packets appear with the time at which they were put on a line, as on the
// sender's interface; events with the time at which somebody decided. Journeys
// are recognised by what translators leave alone (identification, length and
// payload), and as far as possible where that is changed, too.
// Dissecting payloads is left to Config.Decode.
// (pcapng: draft-ietf-opsawg-pcapng; link type RAW of the tcpdump registry.)
//
//	rec := trace.New(trace.Config{})
//	rec.Attach(w) // a *sim.World
//	w.Advance(w.Now().Add(time.Minute))
//	if err := rec.Save("evidence"); err != nil { ... }
package trace

import (
	"strings"
	"sync"
	"time"

	"shipworm/testnet/sim"
)

// Defaults of Config.
const (
	DefaultKeep  = 1 << 16
	DefaultBytes = 64 << 20
)

// Config says what a Recorder keeps. The zero value is good for anything short
// of a benchmark.
type Config struct {
	// Keep bounds the packets kept, and separately the events: the first ones
	// stay, later ones are counted. 0 = DefaultKeep.
	Keep int
	// Bytes bounds the bytes of all packets kept. 0 = DefaultBytes.
	Bytes int
	// Links names the hosts and routers whose lines are recorded; none = all.
	// Events are recorded of all nodes.
	Links []string
	// Decode describes the payload of a UDP datagram in a few words, or returns
	// "" for what it does not know. It is called by the writers. nil = none.
	Decode func(payload []byte) string
}

// A Recorder records a world. Its methods are safe for concurrent use.
type Recorder struct {
	cfg   Config
	links map[string]bool // nil = all

	mu      sync.Mutex
	off     bool
	seed    uint64
	start   time.Time
	packets list[Packet]
	events  list[Event]
	store   store
	lost    Lost
	journey uint64 // the last number given
	seq     uint64 // of what is kept
	tracks  tracks
	cut     cut
	nodes   []string // in order of appearance
	seen    map[string]bool
	gateway map[string]string // host or router -> the router it is behind
}

// Lost counts what a Recorder had no room for.
type Lost struct {
	Packets, Events uint64
}

// New returns a Recorder that is attached to nothing.
func New(c Config) *Recorder {
	if c.Keep <= 0 {
		c.Keep = DefaultKeep
	}
	if c.Bytes <= 0 {
		c.Bytes = DefaultBytes
	}
	r := &Recorder{cfg: c, store: store{left: c.Bytes}, seen: make(map[string]bool), gateway: make(map[string]string)}
	r.tracks.fresh()
	if len(c.Links) > 0 {
		r.links = make(map[string]bool)
		for _, l := range c.Links {
			r.links[l] = true
		}
	}
	return r
}

// Attach begins to record a world: it takes the world's SetTrace for itself
// and adds a watcher. Who needs the events too calls SetTrace afterwards with a
// function that calls OnEvent. A Recorder records one world; while that runs,
// Attach belongs inside Do. A world without a Recorder pays nothing for this
// package.
func (r *Recorder) Attach(w *sim.World) {
	r.mu.Lock()
	r.start, r.seed = w.Now(), w.Seed()
	r.mu.Unlock()
	w.SetTrace(r.OnEvent)
	w.Watch(r.OnTransit)
}

// Stop ends the recording. It cannot be resumed.
func (r *Recorder) Stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.off = true
}

// Lost returns what there was no room for so far.
func (r *Recorder) Lost() Lost {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}

// OnEvent records an event; it is for sim.World.SetTrace.
func (r *Recorder) OnEvent(e sim.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.off {
		return
	}
	r.begin(e.Time)
	t, known := r.tracks.get(identify(e.ID, e.Packet))
	ev := Event{Time: e.Time, Node: e.Node, Kind: e.Kind, Reason: e.Reason, prev: none}
	if e.Kind != sim.Dropped && !onLine(e.Node) {
		r.meet(e.Node)
	}
	starts := e.Kind == sim.Sent || e.Kind == sim.Forged && !onLine(e.Node)
	hop := none
	if e.Kind == sim.Corrupted {
		hop = r.spoilt(&e)
	}
	if hop == none && !starts && !t.pending {
		if hop = r.arrival(t, &e); hop == none && !known {
			hop = r.lookalike(e.ID, e.Node, e.Packet)
		}
	}
	switch {
	case hop != none:
		p := r.packets.at(hop)
		ev.Journey, ev.From, ev.Before, ev.prev = p.Journey, p.After.Node, p.Data, p.prev
		if p.Up && p.Line != e.Node && r.seen[e.Node] {
			r.gateway[p.Line] = e.Node
		}
		r.land(p, Decision{e.Time, e.Node, e.Kind.String(), e.Reason})
	case starts || !known:
		r.journey++
		t.id = r.journey
		ev.Journey = t.id
	case t.pending:
		// The last decision was to send it; now something refuses it.
		ev.Journey, ev.From, ev.Before, ev.prev = t.id, t.cause.Node, t.data, t.event
	default:
		r.copyOf(t, &ev)
	}
	at := r.keepEvent(&ev, e.Packet)
	switch {
	case e.Kind == sim.Delivered || e.Kind == sim.Dropped:
		t.pending = false
	case e.Kind == sim.Fragmented:
		r.cut = cut{line: e.Node, track: t, pkt: ev.Data}
		t.pending = false
	default:
		t.id, t.event, t.data, t.pending = ev.Journey, at, ev.Data, true
		t.cause = Decision{e.Time, e.Node, e.Kind.String(), e.Reason}
	}
}

// copyOf finds where a packet comes from that was not on its way any more: a
// second copy made by a line, or one whose line is not recorded.
func (r *Recorder) copyOf(t *track, ev *Event) {
	ev.Journey, ev.From, ev.Before, ev.prev = t.id, t.cause.Node, t.data, t.event
	// Another copy may be ahead: go back to before this node had its say.
	for i := t.event; i != none; i = r.events.at(i).prev {
		if e := r.events.at(i); e.Node == ev.Node {
			ev.From, ev.Before, ev.prev = e.From, e.Before, e.prev
			return
		}
	}
}

// OnTransit records a packet on a line; it is for sim.World.Watch.
func (r *Recorder) OnTransit(n sim.Transit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.off {
		return
	}
	r.begin(n.Time)
	line := strings.TrimSuffix(n.Line, down)
	if n.Up {
		line = strings.TrimSuffix(n.Line, up)
	}
	r.meet(line)
	t, known := r.tracks.get(identify(n.ID, n.Packet))
	p := Packet{Time: n.Time, Line: line, Up: n.Up, Duplicate: n.Duplicate, number: n.ID, prev: none}
	var like []byte
	hop := none
	if !t.pending && !n.Up {
		if hop = r.risen(t, line, n.Packet); hop == none && !known && !r.cut.made(n) {
			hop = r.lookalike(n.ID, "", n.Packet)
		}
	}
	switch {
	case hop != none:
		q := r.packets.at(hop)
		p.Journey, p.After, p.prev, like = q.Journey, q.After, q.prev, q.Data
		r.land(q, Decision{Time: n.Time, Node: line, Did: passed})
		if !known {
			t.id, t.cause, t.event, t.data = p.Journey, p.After, p.prev, nil
		}
	case !t.pending && r.cut.made(n):
		c := r.cut.track
		if !known {
			t.id, t.cause, t.event, t.data = c.id, c.cause, c.event, c.data
		}
		p.Journey, p.After, p.prev = c.id, c.cause, c.event
	case known:
		p.Journey, p.After, p.prev, like = t.id, t.cause, t.event, t.data
		if t.pending && !n.Up && r.seen[t.cause.Node] && t.cause.Node != line {
			r.gateway[line] = t.cause.Node
		}
	default:
		r.journey++
		t.id = r.journey
		p.Journey = t.id
	}
	t.pending = false
	if r.links != nil && !r.links[line] {
		return
	}
	if r.packets.n >= r.cfg.Keep {
		r.lost.Packets++
		return
	}
	var ok bool
	if p.Data, ok = r.store.keep(n.Packet, like); !ok {
		r.lost.Packets++
		return
	}
	r.seq++
	p.seq = r.seq
	r.depart(t, r.packets.add(p))
}

// keepEvent keeps an event with its packet and returns its place, or none.
func (r *Recorder) keepEvent(ev *Event, pkt []byte) int32 {
	if r.events.n >= r.cfg.Keep {
		r.lost.Events++
		return none
	}
	var ok bool
	if ev.Data, ok = r.store.keep(pkt, ev.Before); !ok {
		r.lost.Events++
		return none
	}
	r.seq++
	ev.seq = r.seq
	return r.events.add(*ev)
}

// begin notes the time of the first record of a Recorder that was not attached.
func (r *Recorder) begin(t time.Time) {
	if r.start.IsZero() {
		r.start = t
	}
}

// meet remembers a host or router.
func (r *Recorder) meet(node string) {
	if !r.seen[node] && len(r.nodes) < r.cfg.Keep {
		r.seen[node] = true
		r.nodes = append(r.nodes, node)
	}
}

// Trace returns a copy of what was recorded so far, as far as f lets it.
func (r *Recorder) Trace(f Filter) *Trace {
	r.mu.Lock()
	t := &Trace{
		Seed: r.seed, Start: r.start, Lost: r.lost, decode: r.cfg.Decode,
		Packets: r.packets.clone(), Events: r.events.clone(),
	}
	t.arrange(r.nodes, r.gateway)
	r.mu.Unlock()
	t.filter(f)
	return t
}

// Packets returns a copy of the packets on lines, in order of time.
func (r *Recorder) Packets() []Packet { return r.Trace(Filter{}).Packets }

// Events returns a copy of the events, in order of time.
func (r *Recorder) Events() []Event { return r.Trace(Filter{}).Events }

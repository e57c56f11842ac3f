package trace

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"iter"
	"strings"

	"shipworm/testnet/internal/ip"
	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/sim"
)

const none int32 = -1

// Suffixes of the two directions of a line (sim.Transit).
const (
	up   = "/up"
	down = "/down"
)

// cutWay splits the name of a line into its host or router and the direction,
// which is "" for any other node.
func cutWay(node string) (line, way string) {
	for _, way := range [...]string{up, down} {
		if line, ok := strings.CutSuffix(node, way); ok {
			return line, way
		}
	}
	return node, ""
}

// onLine reports whether an event's node is a line.
func onLine(node string) bool { _, way := cutWay(node); return way != "" }

// window is how many packets are recognised at least: all that a world can
// have in flight.
const window = sim.MaxInFlight

// A track is what is known of the packets that look alike after translation:
// mostly one.
type track struct {
	id      uint64   // its latest journey
	cause   Decision // the latest decision to send it on
	event   int32    // that decision among the events
	data    []byte   // the packet as it was then
	pending bool     // it was decided to send it, and it is not on a line yet
	few     [2]lane  // where packets are on their way
	more    []lane   // and in a crowd
}

// A lane holds the packets of a track that are on one line in one direction.
type lane struct {
	line       string
	up         bool
	head, tail int32 // among the packets, oldest first; none = the lane is free
}

// lane returns the lane of a line, or nil.
func (t *track) lane(line string, up bool) *lane {
	for l := range t.lanes() {
		if l.head != none && l.up == up && l.line == line {
			return l
		}
	}
	return nil
}

// lanes yields all lanes, free ones too.
func (t *track) lanes() iter.Seq[*lane] {
	return func(yield func(*lane) bool) {
		for i := range t.few {
			if !yield(&t.few[i]) {
				return
			}
		}
		for i := range t.more {
			if !yield(&t.more[i]) {
				return
			}
		}
	}
}

// enter returns the lane of a line, taking a free one if it has none.
func (t *track) enter(line string, up bool) *lane {
	if l := t.lane(line, up); l != nil {
		return l
	}
	for l := range t.lanes() {
		if l.head == none {
			l.line, l.up = line, up
			return l
		}
	}
	t.more = append(t.more, lane{line, up, none, none})
	return &t.more[len(t.more)-1]
}

// tracks holds at least the last window tracks and at most twice that.
type tracks struct {
	recent, old map[uint64]*track
	slab        []track
}

func (s *tracks) fresh() { s.recent, s.old = make(map[uint64]*track), s.recent }

// get returns the track of a key, and whether it was there.
func (s *tracks) get(key uint64) (*track, bool) {
	if t := s.recent[key]; t != nil {
		return t, true
	}
	if len(s.recent) >= window {
		s.fresh()
	}
	t, known := s.old[key]
	if !known {
		if len(s.slab) == 0 {
			s.slab = make([]track, 128)
		}
		t, s.slab = &s.slab[0], s.slab[1:]
		free := lane{head: none, tail: none}
		*t = track{event: none, few: [2]lane{free, free}}
	}
	s.recent[key] = t
	return t, known
}

// depart puts a packet among those on their way.
func (r *Recorder) depart(t *track, i int32) {
	p := r.packets.at(i)
	l := t.enter(p.Line, p.Up)
	p.track, p.older, p.newer = t, l.tail, none
	if l.tail == none {
		l.head = i
	} else {
		r.packets.at(l.tail).newer = i
	}
	l.tail = i
}

// land says what became of a packet that was on its way.
func (r *Recorder) land(p *Packet, d Decision) {
	p.Then = d
	l := p.track.lane(p.Line, p.Up)
	if p.older == none {
		l.head = p.newer
	} else {
		r.packets.at(p.older).newer = p.newer
	}
	if p.newer == none {
		l.tail = p.older
	} else {
		r.packets.at(p.newer).older = p.older
	}
	p.track, p.older, p.newer = nil, none, none
}

// spoilt finds the packet that a line has just corrupted: the one it took last.
func (r *Recorder) spoilt(e *sim.Event) int32 {
	i := int32(r.packets.n) - 1
	if i < 0 {
		return none
	}
	p := r.packets.at(i)
	if line, way := cutWay(e.Node); p.track == nil || p.Line != line || p.Up != (way == up) || len(p.Data) != len(e.Packet) {
		return none
	}
	return i
}

// nearby is how far lookalike looks back, in packets.
const nearby = 256

// lookalike finds a packet on its way of which nothing like pkt is known
// otherwise: a line corrupted it, or a router rewrote its identification or its
// payload. It has the number in its world that it had, or else, where that is
// unknown, its identification and an address. node is where it came out, "" for
// a network.
func (r *Recorder) lookalike(number uint64, node string, pkt []byte) int32 {
	if len(pkt) < ipv4.HeaderLen {
		return none
	}
	n := int32(r.packets.n)
	for i := max(0, n-nearby); i < n; i++ {
		p := r.packets.at(i)
		if p.track == nil || len(p.Data) < ipv4.HeaderLen || !p.reaches(node) {
			continue
		}
		a, b := p.Data, pkt
		if number != 0 && p.number != 0 {
			if number == p.number && ipv4.FragmentOffset(a) == ipv4.FragmentOffset(b) {
				return i
			}
			continue
		}
		if bytes.Equal(a[4:8], b[4:8]) && a[9] == b[9] && (bytes.Equal(a[12:16], b[12:16]) || bytes.Equal(a[16:20], b[16:20])) {
			return i
		}
	}
	return none
}

// arrival finds the packet on its way that an event is about: one that came out
// at the node, or at a network.
func (r *Recorder) arrival(t *track, e *sim.Event) int32 {
	if line, way := cutWay(e.Node); way != "" {
		l := t.lane(line, way == up)
		switch {
		case l == nil:
			return r.risen(t, line, nil)
		case r.packets.at(l.tail).Time.Equal(e.Time):
			return l.tail // a line loses a packet at once
		}
		return l.head
	}
	if l := t.lane(e.Node, false); l != nil {
		return l.head
	}
	return r.risen(t, e.Node, nil)
}

// risen finds the oldest packet that may have come out of its line at a
// network, preferably one equal to pkt, which then needs no more proof. Whose
// network it is, if known, must be that of node or node's own.
func (r *Recorder) risen(t *track, node string, pkt []byte) int32 {
	best := none
	home := r.gateway[node]
	node = strings.TrimSuffix(node, "/lan")
	for l := range t.lanes() {
		if l.head == none || !l.up || l.line == node {
			continue
		}
		same := pkt != nil && bytes.Equal(r.packets.at(l.head).Data, pkt)
		if g := r.gateway[l.line]; g != "" && g != node && g != home && (!same || home != "") {
			continue
		}
		if same {
			return l.head
		}
		if best == none || l.head < best {
			best = l.head
		}
	}
	return best
}

// reaches reports whether the packet can come out at an event's node.
func (p *Packet) reaches(node string) bool {
	if line, way := cutWay(node); way != "" {
		return p.Line == line && p.Up == (way == up)
	}
	return p.Up != (p.Line == node)
}

// A cut is a packet that was just cut into fragments for a line.
type cut struct {
	line  string
	track *track
	pkt   []byte
}

// made reports whether a packet is a fragment of it.
func (c *cut) made(n sim.Transit) bool {
	f, of := n.Packet, c.pkt
	return n.Line == c.line && len(f) >= ipv4.HeaderLen && len(of) >= ipv4.HeaderLen && ipv4.Fragment(f) &&
		bytes.Equal(f[4:6], of[4:6]) && bytes.Equal(f[12:20], of[12:20])
}

var be = binary.BigEndian

// identify sums up what translators leave alone. Two packets with equal sums
// are the same one on different lines, or one cannot tell them apart.
// Nothing translates IPv6, and it has no identification: there it is the number
// of the packet in its world.
func identify(id uint64, b []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	if ip.Is6(b) && id != 0 {
		h.Write(be.AppendUint64(nil, id))
		return h.Sum64()
	}
	pkt, n, ok := ipv4.Check(b)
	if !ok {
		h.Write(b)
		return h.Sum64()
	}
	// length, identification, fragment; protocol
	h.Write(pkt[2:8])
	h.WriteByte(pkt[9])
	body := pkt[n:]
	switch p := ipv4.Proto(pkt); {
	case ipv4.FragmentOffset(pkt) > 0:
		h.Write(body)
	case p == ipv4.UDP && len(body) >= 8:
		h.Write(body[8:]) // not ports, checksum
	case p == ipv4.TCP && len(body) >= 20:
		h.Write(body[4:16]) // not ports, checksum
		h.Write(body[18:])
	case p == ipv4.ICMP && len(body) >= 8 && (body[0] == ipv4.EchoRequest || body[0] == ipv4.EchoReply):
		h.WriteByte(body[0])
		h.Write(body[6:]) // not checksum, identifier
	case p == ipv4.ICMP && len(body) >= 8+ipv4.HeaderLen:
		h.Write(body[:2])
		h.Write(body[8+2 : 8+6]) // of the quoted packet: length, identification
		h.WriteByte(body[8+9])   // and protocol
	default:
		h.Write(body)
	}
	return h.Sum64()
}

// seed is one for the life of the process: sums are never shown.
var seed = maphash.MakeSeed()

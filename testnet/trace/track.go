package trace

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"strings"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/sim"
)

const none int32 = -1

// Suffixes of the two directions of a line (sim.Transit).
const (
	up   = "/up"
	down = "/down"
)

// onLine reports whether an event's node is a line.
func onLine(node string) bool { return strings.HasSuffix(node, up) || strings.HasSuffix(node, down) }

// window is how many packets are recognised at least: all that a world can
// have in flight.
const window = sim.MaxInFlight

// A track is what is known of the packets that look alike after translation:
// mostly one.
type track struct {
	id         uint64   // its latest journey
	cause      Decision // the latest decision to send it on
	event      int32    // that decision among the events
	data       []byte   // the packet as it was then
	pending    bool     // it was decided to send it, and it is not on a line yet
	head, tail int32    // packets that have not come to anything yet, oldest first
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
		*t = track{event: none, head: none, tail: none}
	}
	s.recent[key] = t
	return t, known
}

// open appends the last packet to those on their way.
func (s *tracks) open(t *track, packets []Packet) {
	i := int32(len(packets) - 1)
	if t.tail == none {
		t.head = i
	} else {
		packets[t.tail].next = i
	}
	t.tail = i
}

// close takes a packet out of those on their way.
func (s *tracks) close(t *track, packets []Packet, i int32) {
	before := none
	for j := t.head; j != i; j = packets[j].next {
		before = j
	}
	after := packets[i].next
	packets[i].next = none
	if before == none {
		t.head = after
	} else {
		packets[before].next = after
	}
	if after == none {
		t.tail = before
	}
}

// arrival finds the packet on its way that an event at node is about.
func (r *Recorder) arrival(t *track, node string) int32 {
	best, rank := none, 0
	for i := t.head; i != none; i = r.packets[i].next {
		p := &r.packets[i]
		n := 0
		switch {
		case !p.Up && p.Line == node:
			n = 4 // it came out at this node
		case len(node) > len(p.Line) && strings.HasPrefix(node, p.Line) && node[len(p.Line):] == p.way():
			best, rank = i, 3 // the line itself, which drops at once: the newest
			continue
		case p.Up && p.Line != node:
			n = 2 // it came out at the network, which may be this node's
		}
		if n > rank {
			best, rank = i, n
		}
	}
	return best
}

// crossing finds the packet that a network takes from one line to another.
func (r *Recorder) crossing(t *track, pkt []byte) int32 {
	best := none
	for i := t.head; i != none; i = r.packets[i].next {
		if p := &r.packets[i]; p.Up {
			if bytes.Equal(p.Data, pkt) {
				return i
			}
			if best == none {
				best = i
			}
		}
	}
	return best
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
func identify(b []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
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

package trace

import (
	"fmt"
	"strings"
	"time"

	"shipworm/testnet/internal/ip"
	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/sim"
)

// passed is what a network does with a packet that it puts on another line,
// besides the words of sim.Kind.
const passed = "passed"

// A Decision is what a node did with a packet. The zero value means that
// nothing is recorded.
type Decision struct {
	Time   time.Time
	Node   string // host, router, network, or line with its direction
	Did    string // a word of sim.Kind, or "passed" to the line of Node
	Reason string // a plain English fragment, or ""
}

// String returns the decision as a clause: "home dropped: no mapping for the
// destination". It is "" for the zero value.
func (d Decision) String() string {
	switch {
	case d.Node == "":
		return ""
	case d.Did == passed:
		return "passed on to " + clean(d.Node)
	case d.Reason != "":
		return clean(d.Node) + " " + d.Did + ": " + clean(d.Reason)
	}
	return clean(d.Node) + " " + d.Did
}

// A Packet is one packet on one line.
type Packet struct {
	Journey   uint64    // counts from 1; the same on all lines that the packet takes
	Time      time.Time // when it was put on the line
	Line      string    // host or router whose access line it is
	Up        bool      // from that node towards its network
	Duplicate bool      // a second copy, made by this or an earlier line
	Data      []byte    // the IPv4 or IPv6 packet; not to be changed
	After     Decision  // what put it here
	Then      Decision  // what became of it; zero if it was on the way at the end

	prev         int32  // the event of After
	number       uint64 // in its world; 0 = unknown
	seq          uint64 // order of recording, with events
	track        *track // while it is on its way
	older, newer int32  // others of the lane
}

// Comment returns in a sentence what put the packet on the line and what became
// of it there: "home forwarded: mapping created; server delivered".
func (p Packet) Comment() string {
	after, then := p.After.String(), p.Then.String()
	if after == "" {
		after = "of unknown origin"
	}
	if then == "" {
		then = "still on the way when the trace ended"
	}
	if p.Duplicate {
		after += "; a copy that a line made"
	}
	return after + "; " + then
}

// An Event is one decision about a packet, or its beginning.
type Event struct {
	Journey uint64
	Time    time.Time
	Node    string // host, router, network, or line with its direction
	Kind    sim.Kind
	Reason  string // a plain English fragment, or ""
	From    string // the node or line that decided about it before; "" for "sent"
	Before  []byte // the packet as it came; nil for "sent"; not to be changed
	Data    []byte // the packet after the decision; not to be changed

	prev int32  // the event at From
	seq  uint64 // order of recording, with packets
}

// A Trace is what a Recorder recorded, as far as a Filter let it. It is not
// changed any more.
type Trace struct {
	Seed    uint64    // of the world
	Start   time.Time // of the recording; writers count time from here
	Nodes   []string  // hosts and routers from one end of the paths to the other
	Packets []Packet  // on lines, in order of time
	Events  []Event   // in order of time
	Lost    Lost      // what the Recorder had no room for, filtered or not
	Left    int       // events that Filter.Limit left out

	gateway map[string]string
	decode  func([]byte) string
}

// describe returns a packet in a few words, with what Decode knows about it.
func (t *Trace) describe(b []byte) string {
	s := ip.Summary(b)
	if d := t.decoded(b); d != "" {
		s += ": " + d
	}
	return s
}

func (t *Trace) decoded(b []byte) string {
	if t.decode == nil {
		return ""
	}
	h, ok := ip.Parse(b)
	if !ok || h.Proto != ipv4.UDP || h.Piece || len(h.Body) < 8 {
		return ""
	}
	return clean(t.decode(h.Body[8:]))
}

// since returns a time as seconds from the start, to the microsecond.
func (t *Trace) since(at time.Time) string {
	return fmt.Sprintf("%.6f", at.Sub(t.Start).Seconds())
}

// clean makes a string of others fit for one line of text.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// about sums the trace up in a line.
func (t *Trace) about() string {
	s := fmt.Sprintf("seed %d", t.Seed)
	if t.Left > 0 {
		s += fmt.Sprintf("; %d events left out", t.Left)
	}
	if t.Lost.Packets > 0 {
		s += fmt.Sprintf("; %d packets were not recorded", t.Lost.Packets)
	}
	return s
}

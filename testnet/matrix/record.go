package matrix

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/sim"
)

// MaxRows bounds the packets that a ladder keeps; later ones are counted in
// Ladder.Omitted.
const MaxRows = 1024

// A Ladder is the packets of one run, in the order in which they were sent.
type Ladder struct {
	Outcome Outcome
	Run     int // counted from 0
	Rows    []Row
	Omitted int           // packets beyond MaxRows
	Length  time.Duration // from the first packet's possible time to the end
	// Punch is when both ends knew their address and A called B; -1 if that
	// never happened.
	Punch time.Duration
}

// A Row is the way of one packet. Times count from the beginning of the run.
type Row struct {
	Sent     time.Duration
	What     string         // the method's word for it
	Src, Dst netip.AddrPort // as sent; port 0 for ICMP
	Hops     []Hop          // the first is the sender
	// End is when it was delivered or dropped; 0 if it still was on its way.
	End     time.Duration
	Dropped string // why; empty if it was not
	// Line is set where a line lost it: after the last hop, on the way to Line.
	Line    string
	Refused string // why the program that got it had no use for it
}

// A Hop is one node on the way of a packet.
type Hop struct {
	Node string
	Time time.Duration
	// Src and Dst are the packet's when it left the node, or arrived last.
	Src, Dst netip.AddrPort
}

// recorder follows packets through the nodes of a stage.
type recorder struct {
	start    time.Time
	describe func(payload []byte) string
	rows     []Row
	open     []flight
	last     int // row of the packet delivered last, -1 if none
	sent     int // packets by the ends and the server
	omitted  int
	begun    time.Duration
}

// flight is a packet under way: its row, and what it looks like now.
type flight struct {
	row      int
	id       uint16 // some NATs change it
	sum      uint64 // of the payload, which an ALG changes
	src, dst netip.AddrPort
	node     string
}

func newRecorder(w *sim.World, describe func([]byte) string) *recorder {
	r := &recorder{start: w.Now(), describe: describe, last: -1, begun: -1}
	w.SetTrace(r.event)
	return r
}

func (r *recorder) punch(at time.Time) { r.begun = at.Sub(r.start) }

func (r *recorder) refused(why string) {
	if r.last >= 0 && r.rows[r.last].Refused == "" {
		r.rows[r.last].Refused = why
	}
}

func (r *recorder) ladder(end time.Time) Ladder {
	return Ladder{Rows: r.rows, Omitted: r.omitted, Length: end.Sub(r.start), Punch: r.begun, Outcome: Unready}
}

// event takes in one step of a packet.
func (r *recorder) event(e sim.Event) {
	id, sum, src, dst, ok := endpoints(e.Packet)
	if !ok {
		return
	}
	if e.Kind == sim.Corrupted {
		return // it goes on, with the same identification
	}
	at := e.Time.Sub(r.start)
	if e.Kind == sim.Sent {
		if e.Node == NodeA || e.Node == NodeB || e.Node == NodeServer {
			r.sent++
		}
		r.begin(at, e, flight{len(r.rows), id, sum, src, dst, e.Node})
		return
	}
	i := slices.IndexFunc(r.open, func(f flight) bool {
		if f.id != id && f.sum != sum || !leadsTo(f.node, e.Node) {
			return false
		}
		// A NAT changes the source of what comes from its own host, and the
		// destination of what comes from the Internet.
		fromLAN := f.node == NodeA || f.node == NodeB
		return e.Kind == sim.Hairpinned || fromLAN && f.dst == dst || !fromLAN && f.src == src
	})
	if i < 0 {
		return // its beginning was omitted
	}
	f := &r.open[i]
	row := &r.rows[f.row]
	node, line, onLine := strings.Cut(e.Node, "/")
	switch {
	case e.Kind == sim.Dropped && onLine:
		row.Line = "internet"
		if line == "down" {
			row.Line = node
		}
	case e.Kind != sim.Dropped || isNode(e.Node):
		row.Hops = append(row.Hops, Hop{Node: e.Node, Time: at, Src: src, Dst: dst})
	}
	switch e.Kind {
	case sim.Forwarded, sim.Hairpinned:
		f.id, f.sum, f.src, f.dst, f.node = id, sum, src, dst, e.Node
		return
	case sim.Delivered:
		r.last = f.row
	case sim.Dropped:
		row.Dropped = e.Reason
	}
	row.End = at
	r.open = slices.Delete(r.open, i, i+1)
}

func (r *recorder) begin(at time.Duration, e sim.Event, f flight) {
	if len(r.rows) == MaxRows {
		r.omitted++
		return
	}
	row := Row{Sent: at, Src: f.src, Dst: f.dst, Hops: []Hop{{Node: e.Node, Time: at, Src: f.src, Dst: f.dst}}}
	if pkt, h, ok := ipv4.Check(e.Packet); ok && ipv4.Proto(pkt) == ipv4.UDP {
		row.What = r.describe(pkt[h+8:])
	} else {
		row.What = "ICMP"
	}
	r.open = append(r.open, f)
	r.rows = append(r.rows, row)
}

// isNode tells a node of the stage from the networks between them.
func isNode(name string) bool {
	return slices.Contains([]string{NodeA, NodeNATA, NodeServer, NodeNATB, NodeB}, name)
}

// leadsTo reports whether a packet that left one node may show itself at
// another place next.
func leadsTo(node, place string) bool {
	name, dir, onLine := strings.Cut(place, "/")
	public := func(n string) bool { return n == NodeNATA || n == NodeNATB || n == NodeServer }
	switch {
	case onLine && dir == "up":
		return node == name
	case name == "internet":
		return public(node)
	case node == NodeA || name == NodeA:
		return node == NodeNATA || name == NodeNATA
	case node == NodeB || name == NodeB:
		return node == NodeNATB || name == NodeNATB
	}
	return public(node) && public(name) && node != name
}

// endpoints reads what a packet is known by on its way: a NAT changes its
// identification or its payload at most, not both.
func endpoints(b []byte) (id uint16, sum uint64, src, dst netip.AddrPort, ok bool) {
	pkt, h, ok := ipv4.Check(b)
	if !ok {
		return 0, 0, src, dst, false
	}
	var sp, dp uint16
	payload := pkt[h:]
	if ipv4.Proto(pkt) == ipv4.UDP && len(payload) >= 8 {
		sp, dp = binary.BigEndian.Uint16(payload), binary.BigEndian.Uint16(payload[2:])
		payload = payload[8:]
	}
	f := fnv.New64a()
	f.Write(payload)
	return binary.BigEndian.Uint16(pkt[4:]), f.Sum64(), netip.AddrPortFrom(ipv4.Addr(ipv4.Src(pkt)), sp),
		netip.AddrPortFrom(ipv4.Addr(ipv4.Dst(pkt)), dp), true
}

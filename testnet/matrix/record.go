package matrix

import (
	"encoding/binary"
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
	open     map[uint64]int // rows of the packets under way, by sim.Event.ID
	last     int            // row of the packet delivered last, -1 if none
	sent     int            // packets by the ends and the server
	omitted  int
	begun    time.Duration
}

func newRecorder(w *sim.World, describe func([]byte) string) *recorder {
	r := &recorder{start: w.Now(), describe: describe, open: map[uint64]int{}, last: -1, begun: -1}
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
	at := e.Time.Sub(r.start)
	if e.Kind == sim.Sent {
		if e.Node == NodeA || e.Node == NodeB || e.Node == NodeServer {
			r.sent++
		}
		r.begin(at, e)
		return
	}
	i, ok := r.open[e.ID]
	if !ok || e.Kind == sim.Corrupted {
		return // its beginning was omitted, or it goes on
	}
	row := &r.rows[i]
	node, line, onLine := strings.Cut(e.Node, "/")
	switch {
	case e.Kind == sim.Dropped && onLine:
		row.Line = "internet"
		if line == "down" {
			row.Line = node
		}
	case e.Kind != sim.Dropped || isNode(e.Node):
		src, dst := endpoints(e.Packet)
		row.Hops = append(row.Hops, Hop{Node: e.Node, Time: at, Src: src, Dst: dst})
	}
	switch e.Kind {
	case sim.Forwarded, sim.Hairpinned, sim.Held, sim.Fragmented:
		return
	case sim.Delivered:
		r.last = i
	case sim.Dropped:
		row.Dropped = e.Reason
	}
	row.End = at
	delete(r.open, e.ID)
}

func (r *recorder) begin(at time.Duration, e sim.Event) {
	if len(r.rows) == MaxRows {
		r.omitted++
		return
	}
	src, dst := endpoints(e.Packet)
	row := Row{Sent: at, What: "ICMP", Src: src, Dst: dst, Hops: append(make([]Hop, 0, maxHops), Hop{Node: e.Node, Time: at, Src: src, Dst: dst})}
	if pkt, h, ok := ipv4.Check(e.Packet); ok && ipv4.Proto(pkt) == ipv4.UDP && len(pkt) >= h+8 {
		row.What = r.describe(pkt[h+8:])
	}
	r.open[e.ID] = len(r.rows)
	r.rows = append(r.rows, row)
}

// maxHops is the longest way: host, NAT, NAT, host.
const maxHops = 4

// isNode tells a node of the stage from the networks between them.
func isNode(name string) bool {
	return slices.Contains([]string{NodeA, NodeNATA, NodeServer, NodeNATB, NodeB}, name)
}

// endpoints reads the addresses and, of UDP, the ports of a packet.
func endpoints(b []byte) (src, dst netip.AddrPort) {
	pkt, h, ok := ipv4.Check(b)
	if !ok {
		return src, dst
	}
	var sp, dp uint16
	if ipv4.Proto(pkt) == ipv4.UDP && len(pkt) >= h+4 {
		sp, dp = binary.BigEndian.Uint16(pkt[h:]), binary.BigEndian.Uint16(pkt[h+2:])
	}
	return netip.AddrPortFrom(ipv4.Addr(ipv4.Src(pkt)), sp), netip.AddrPortFrom(ipv4.Addr(ipv4.Dst(pkt)), dp)
}

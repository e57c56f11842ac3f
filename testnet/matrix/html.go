package matrix

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"net/netip"
	"strings"
	"time"
)

//go:embed page.html
var pageText string

//go:embed page.js
var pageScript string

// Geometry of a ladder's picture, in its own units: five lanes.
const (
	laneFirst = 24
	laneGap   = 88
)

// page is what the template gets: ready text and numbers, no decisions.
type page struct {
	Title, Headline, Summary, Limit string
	Script                          template.JS
	ScriptHash                      string // for the page's policy: no other script may run
	NATs                            []string
	Rows                            []pageRow
	Reasons                         []reason
	Legend                          []Outcome
	Lanes                           []pageLane
	Ladders                         []pageLadder
}

type pageRow struct {
	Name  string
	Cells []pageCell
}

type pageCell struct {
	ID, Class, Symbol, Value, Unit, Label string
	Packets                               string
	Open                                  bool // has a ladder
}

type pageLane struct {
	Name string
	X    int
}

type pageLadder struct {
	ID, From, To, Verdict, Note string
	Before, Rows                []pagePacket
	Packets                     int // before the call
	Omitted                     int
}

type pagePacket struct {
	Class, Time, What, Path, Fate, Again string
	X1, X2                               int
	Dots                                 []int
	End                                  string // id of the mark at X2
	EndX                                 int
}

// Symbol returns the mark of the outcome: it must be told apart without
// colours.
func (o Outcome) Symbol() string {
	switch o {
	case Connected:
		return "✓"
	case Sometimes:
		return "◐"
	case Failed:
		return "✕"
	}
	return "!"
}

// Meaning returns the legend's words for the outcome.
func (o Outcome) Meaning() string {
	switch o {
	case Connected:
		return "connected in every run, after this time"
	case Sometimes:
		return "connected in this share of the runs"
	case Failed:
		return "found no path, for the reason of this letter"
	}
	return "an end never learnt its address, for the reason of this letter"
}

// WriteHTML writes the table as one page that needs no other file. Each cell
// links to the ladder of its packets, which is shown while its address is the
// target; so ladders can be linked to and printed, and nothing depends on the
// one script, which adds keys.
func (t *Table) WriteHTML(w io.Writer) error {
	tmpl, err := template.New("page").Parse(pageText)
	if err != nil {
		return err
	}
	rs := t.reasons()
	hash := sha256.Sum256([]byte(pageScript))
	p := page{
		Script: template.JS(pageScript), ScriptHash: "sha256-" + base64.StdEncoding.EncodeToString(hash[:]),
		Title: t.Title, Headline: upper(t.conditions()) + ".", Summary: t.summary(), Limit: seconds(t.Limit),
		NATs: t.NATs, Reasons: rs,
	}
	n := t.tally()
	for _, o := range []Outcome{Connected, Sometimes, Failed, Unready} {
		if n[o] > 0 {
			p.Legend = append(p.Legend, o)
		}
	}
	for i, name := range []string{NodeA, NodeNATA, NodeServer, NodeNATB, NodeB} {
		p.Lanes = append(p.Lanes, pageLane{name, laneFirst + i*laneGap})
	}
	for i, from := range t.NATs {
		row := pageRow{Name: from}
		for j := range t.NATs {
			c := &t.Cells[i*len(t.NATs)+j]
			id := fmt.Sprintf("%d-%d", i+1, j+1)
			row.Cells = append(row.Cells, c.page(id, rs))
			if len(c.Ladder.Rows) > 0 {
				p.Ladders = append(p.Ladders, c.ladder(id))
			}
		}
		p.Rows = append(p.Rows, row)
	}
	return tmpl.Execute(w, p)
}

func (c *Cell) page(id string, rs []reason) pageCell {
	p := pageCell{
		ID: id, Class: string(c.Outcome), Symbol: c.Outcome.Symbol(), Packets: count(c.Packets, "packet"), Open: len(c.Ladder.Rows) > 0,
		Label: fmt.Sprintf("%s calls %s: %s", c.From, c.To, c.sentence()),
	}
	if c.Outcome != Connected { // whose sentence says it
		p.Label += ", with " + count(c.Packets, "packet")
	}
	switch c.Outcome {
	case Connected:
		p.Value, p.Unit, _ = strings.Cut(seconds(c.Time), " ")
	case Sometimes:
		p.Value = c.share()
	default:
		p.Value = keyOf(rs, c.Reason)
	}
	return p
}

func (c *Cell) ladder(id string) pageLadder {
	l := &c.Ladder
	p := pageLadder{ID: id, From: c.From, To: c.To, Verdict: c.verdict(), Omitted: l.Omitted}
	if c.Outcome != Connected {
		p.Note = upper(count(c.Packets, "packet")) + "."
	}
	if c.Runs > 1 {
		p.Note = strings.TrimSpace(p.Note + fmt.Sprintf(" Run %d of %d.", l.Run+1, c.Runs))
	}
	before, after := l.Rows, []Row(nil)
	zero := time.Duration(0)
	if l.Punch >= 0 {
		k := 0
		for k < len(l.Rows) && l.Rows[k].Sent < l.Punch {
			k++
		}
		before, after, zero = l.Rows[:k], l.Rows[k:], l.Punch
		p.Packets = k
		p.Before = packets(before, zero)
	} else {
		after = before
	}
	p.Rows = packets(after, zero)
	return p
}

// verdict is the result in sentences.
func (c *Cell) verdict() string {
	switch c.Outcome {
	case Connected:
		return upper(c.sentence()) + "."
	case Sometimes:
		return fmt.Sprintf("Connected in %d of %d runs, in %s. Else: %s.", c.OK, c.Runs, seconds(c.Time), c.Reason)
	case Failed:
		return fmt.Sprintf("Found no path. %s.", c.Reason)
	}
	return fmt.Sprintf("An end never learnt its address. %s.", c.Reason)
}

// maxAlike is how many packets are drawn that differ in their ports only. A
// client that looks for a port sends hundreds.
const maxAlike = 8

// packets draws rows; those that only repeat an earlier one are counted there.
func packets(rows []Row, zero time.Duration) []pagePacket {
	alike := map[string]map[string]bool{}
	for i := range rows {
		loose := rowKey(&rows[i], netip.AddrPort.Addr)
		if alike[loose] == nil {
			alike[loose] = map[string]bool{}
		}
		alike[loose][rowKey(&rows[i], same)] = true
	}
	var out []pagePacket
	first := map[string]int{}
	times := map[string]int{}
	for i := range rows {
		r := &rows[i]
		key, note := rowKey(r, netip.AddrPort.Addr), ", other ports"
		if len(alike[key]) <= maxAlike {
			key, note = rowKey(r, same), ""
		}
		k, again := first[key]
		times[key]++
		if again {
			out[k].Again = fmt.Sprintf("%d times until %s%s", times[key], clock(r.Sent-zero), note)
			continue
		}
		first[key] = len(out)
		out = append(out, r.packet(zero))
	}
	return out
}

func same(a netip.AddrPort) netip.AddrPort { return a }

// rowKey is the same for packets that had the same way and the same fate, as far
// as part tells their endpoints apart.
func rowKey[T any](r *Row, part func(netip.AddrPort) T) string {
	last := r.Hops[len(r.Hops)-1]
	return fmt.Sprint(r.What, r.Hops[0].Node, last.Node, part(r.Src), part(r.Dst), part(last.Src), part(last.Dst), r.Line, r.Dropped, r.Refused, r.End > 0)
}

func (r *Row) packet(zero time.Duration) pagePacket {
	first, last := r.Hops[0], r.Hops[len(r.Hops)-1]
	p := pagePacket{Time: clock(r.Sent - zero), What: r.What, Path: r.path(), X1: laneX(first.Node), X2: laneX(last.Node)}
	for _, h := range r.Hops[1:] {
		if h.Node != last.Node {
			p.Dots = append(p.Dots, laneX(h.Node))
		}
	}
	switch {
	case r.Dropped != "":
		p.Class, p.End = "dropped", "x"
		p.Fate = "✕ " + r.dropper() + ": " + r.Dropped
		if r.Line != "" {
			// On its way from the last node: halfway towards where it was going.
			p.Dots = append(p.Dots, p.X2)
			to := laneX(NodeServer)
			if r.Line != "internet" {
				to = laneX(r.Line)
			} else if last.Node == NodeServer {
				to = (laneX(NodeNATA) + laneX(NodeServer)) / 2
			}
			p.X2 = (p.X2 + to) / 2
		}
	case r.End == 0:
		p.Class, p.End, p.Fate = "late", "d", "still on its way at the end"
	case r.Refused != "":
		p.Class, p.Fate = "refused", "⊘ "+last.Node+": "+r.Refused
	default:
		p.Class, p.Fate = "delivered", fmt.Sprintf("arrived after %s", seconds(r.End-r.Sent))
	}
	if p.End == "" {
		p.End = "r"
		if p.X2 < p.X1 {
			p.End = "l"
		}
	}
	p.EndX = p.X2
	return p
}

// path is source and destination, with what NATs made of them.
func (r *Row) path() string {
	last := r.Hops[len(r.Hops)-1]
	side := func(sent, seen netip.AddrPort) string {
		s := endpoint(sent)
		if seen != sent {
			s += " ⇒ " + endpoint(seen)
		}
		return s
	}
	return side(r.Src, last.Src) + " → " + side(r.Dst, last.Dst)
}

func endpoint(a netip.AddrPort) string {
	if a.Port() == 0 {
		return a.Addr().String()
	}
	return a.String()
}

func laneX(node string) int {
	for i, n := range []string{NodeA, NodeNATA, NodeServer, NodeNATB, NodeB} {
		if n == node {
			return laneFirst + i*laneGap
		}
	}
	return laneX(NodeServer)
}

// clock is a moment, counted from the call.
func clock(d time.Duration) string {
	s := fmt.Sprintf("%.3f\u00a0s", d.Seconds())
	return strings.Replace(s, "-", "−", 1)
}

package trace

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"shipworm/testnet/sim"
)

// ladderSize is where a ladder ends by itself, in bytes: Mermaid refuses texts
// longer than 50,000 characters (its maxTextSize).
const ladderSize = 48000

// WriteMermaid writes what f selects as a packet ladder: a Mermaid
// sequenceDiagram with hosts and routers in the order of the paths and an arrow
// for each hop, drawn when the packet gets there. The arrow carries the
// packet's journey in brackets, the time in seconds, the packet as it was on
// the way, and the receiving node's reason. A packet that did not arrive ends
// in a cross and a note with the reason. What is longer than Mermaid takes is
// left out and counted in a note; Filter.Limit makes it shorter.
func (r *Recorder) WriteMermaid(w io.Writer, f Filter) error { return r.Trace(f).WriteMermaid(w) }

// WriteMermaid is WriteMermaid of Recorder for a filtered trace.
func (t *Trace) WriteMermaid(w io.Writer) error {
	l := ladder{t: t, id: make(map[string]string), public: make(map[netip.Addr]string)}
	l.participants()
	for _, p := range t.Packets {
		if _, dst, ok := endpoints(p.Data); ok && !p.Up && t.gateway[p.Line] == "" {
			l.public[dst.Addr()] = p.Line
		}
	}
	var lines strings.Builder
	left := t.Left
	for i := range t.Events {
		s := l.step(&t.Events[i])
		if lines.Len()+len(s) > ladderSize-2*len(l.head) {
			left += len(t.Events) - i
			break
		}
		lines.WriteString(s)
	}
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "sequenceDiagram\n")
	b.WriteString(l.head)
	b.WriteString(lines.String())
	l.remark(b, uint64(left), "more events are not shown")
	l.remark(b, t.Lost.Events, "events were not recorded")
	return b.Flush()
}

type ladder struct {
	t      *Trace
	id     map[string]string     // participants by name
	public map[netip.Addr]string // whose address it is on the Internet
	head   string                // the participants
	first  string                // the leftmost
	last   string                // the rightmost
}

// participants declares the nodes that have a part in the story.
func (l *ladder) participants() {
	used := make(map[string]bool)
	for _, e := range l.t.Events {
		used[lineOf(e.Node)] = true
		used[lineOf(e.From)] = true
		used[e.Node] = true
	}
	var b strings.Builder
	for _, n := range l.t.Nodes {
		if !used[n] {
			continue
		}
		id := fmt.Sprintf("n%d", len(l.id)+1)
		l.id[n] = id
		if l.first == "" {
			l.first = id
		}
		l.last = id
		fmt.Fprintf(&b, "    participant %s as %s\n", id, escape(n))
	}
	l.head = b.String()
}

// who returns the participant of an event's node, or "" for a network.
func (l *ladder) who(node string) string {
	if id := l.id[node]; id != "" {
		return id
	}
	return l.id[lineOf(node)]
}

// step draws one event.
func (l *ladder) step(e *Event) string {
	if e.Kind == sim.Sent {
		return ""
	}
	from, to := l.who(e.From), l.who(e.Node)
	if e.From == "" {
		from = ""
	}
	pkt := e.Before
	if pkt == nil {
		pkt = e.Data
	}
	label := fmt.Sprintf("[%d] %s %s", e.Journey, l.t.since(e.Time), escape(l.t.describe(pkt)))
	reason := e.Kind.String()
	if e.Reason != "" {
		reason += ": " + escape(clean(e.Reason))
	}
	switch {
	case e.Kind == sim.Forged, e.Kind == sim.Fragmented:
		return l.note(to, label+"<br/>"+reason)
	case e.Kind != sim.Dropped && from != "" && from != to:
		if e.Reason != "" {
			label += "<br/>" + escape(clean(e.Reason))
		}
		return fmt.Sprintf("    %s->>%s: %s\n", from, to, label)
	case e.Kind != sim.Dropped:
		return l.note(to, label+"<br/>"+reason)
	}
	if l.id[e.Node] == "" { // before it arrived
		reason += " (" + escape(e.Node) + ")"
		if strings.HasSuffix(e.Node, up) {
			from, to = to, l.beyond(e)
		}
	}
	if from == "" || to == "" || from == to {
		if from == "" {
			from = to
		}
		return l.note(from, label+"<br/>"+reason)
	}
	return fmt.Sprintf("    %s-x%s: %s\n%s", from, to, label, l.note(to, reason))
}

// beyond returns the participant that a packet would have reached, had it not
// been lost on the line upwards, or "".
func (l *ladder) beyond(e *Event) string {
	if g := l.t.gateway[lineOf(e.Node)]; g != "" {
		return l.id[g]
	}
	_, dst, ok := endpoints(e.Data)
	if !ok {
		return ""
	}
	return l.id[l.public[dst.Addr()]]
}

func (l *ladder) note(over, text string) string {
	if over == "" {
		if over = l.first; over == "" {
			return ""
		}
	}
	return fmt.Sprintf("    Note over %s: %s\n", over, text)
}

// remark closes the ladder with what is missing from it.
func (l *ladder) remark(w io.Writer, n uint64, what string) {
	if n == 0 || l.first == "" {
		return
	}
	over := l.first
	if l.last != l.first {
		over += "," + l.last
	}
	fmt.Fprintf(w, "    Note over %s: %d %s\n", over, n, what)
}

// escape writes what has a meaning to Mermaid as its entities (#nn;).
func escape(s string) string { return escaper.Replace(clean(s)) }

var escaper = strings.NewReplacer("#", "#35;", ";", "#59;", "<", "#lt;", ">", "→", "&", "#amp;", "%", "#37;", "\\", "#92;", "{", "#123;", "}", "#125;")

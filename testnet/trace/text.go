package trace

import (
	"bufio"
	"fmt"
	"io"
	"time"
	"unicode/utf8"
)

// widest bounds the column of packets in the text, in characters: one strange
// packet does not push all reasons out of sight.
const widest = 76

// WriteText writes all events as aligned text, one a line: the time in seconds
// since the start, the journey, the node, what it did, the packet after that,
// and why. Lines with a # before and after them say what was recorded and what
// was not.
func (r *Recorder) WriteText(w io.Writer) error { return r.Trace(Filter{}).WriteText(w) }

// WriteText is WriteText of Recorder for a filtered trace.
func (t *Trace) WriteText(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "# seed %d, start %s\n", t.Seed, t.Start.UTC().Format(time.RFC3339Nano))
	var at, journey, node, did, pkt int
	for i := range t.Events {
		e := &t.Events[i]
		at = max(at, len(t.since(e.Time)))
		journey = max(journey, len(fmt.Sprint(e.Journey)))
		node = max(node, utf8.RuneCountInString(clean(e.Node)))
		did = max(did, len(e.Kind.String()))
		pkt = max(pkt, utf8.RuneCountInString(t.describe(e.Data)))
	}
	pkt = min(pkt, widest)
	for i := range t.Events {
		e := &t.Events[i]
		fmt.Fprintf(b, "%*s  #%-*d  %-*s  %-*s  ", at, t.since(e.Time), journey, e.Journey, node, clean(e.Node), did, e.Kind)
		if e.Reason == "" {
			fmt.Fprintf(b, "%s\n", t.describe(e.Data))
		} else {
			fmt.Fprintf(b, "%-*s  %s\n", pkt, t.describe(e.Data), clean(e.Reason))
		}
	}
	if t.Left > 0 {
		fmt.Fprintf(b, "# %d more events are not shown\n", t.Left)
	}
	if t.Lost.Events > 0 {
		fmt.Fprintf(b, "# %d events were not recorded\n", t.Lost.Events)
	}
	return b.Flush()
}

package matrix

import (
	"slices"
	"strings"
	"time"
)

// A Drop is one reason for which one node dropped packets.
type Drop struct {
	Node   string        `json:"node"` // a NAT, or the line that lost them
	Reason string        `json:"reason"`
	Count  int           `json:"count"`
	First  time.Duration `json:"first_ns"` // from the start of the run
	last   time.Duration
}

// Drops returns what was dropped in the run, by node and reason, in order of
// the first time; refusals of the programs are not among them.
func (l *Ladder) Drops() []Drop {
	var out []Drop
	for i := range l.Rows {
		r := &l.Rows[i]
		if r.Dropped == "" {
			continue
		}
		node := r.dropper()
		k := slices.IndexFunc(out, func(d Drop) bool { return d.Node == node && d.Reason == r.Dropped })
		if k < 0 {
			k = len(out)
			out = append(out, Drop{Node: node, Reason: r.Dropped, First: r.End})
		}
		out[k].Count++
		out[k].First = min(out[k].First, r.End)
		out[k].last = max(out[k].last, r.End)
	}
	slices.SortStableFunc(out, func(a, b Drop) int { return int(a.First - b.First) })
	return out
}

// dropper names the node or line that dropped the packet.
func (r *Row) dropper() string {
	at := r.Hops[len(r.Hops)-1].Node
	switch r.Line {
	case "":
		return at
	case "internet":
		return "line of " + at
	}
	return "line of " + r.Line
}

// Reason says in a sentence what stood between the two ends for good. A punch
// that works has drops too: the first packets to a NAT that has not been
// opened yet. So a NAT counts only if nothing from the other end came through
// it after its last drop, and of its reasons only the one it ended with; of
// two NATs the one that began first is named.
func (l *Ladder) Reason() string {
	if l.Outcome == Connected {
		return ""
	}
	drops := l.Drops()
	var final []Drop
	for _, site := range []struct{ nat, end, other string }{{NodeNATA, NodeA, NodeB}, {NodeNATB, NodeB, NodeA}} {
		last := Drop{last: -1}
		for _, d := range drops {
			if d.Node == site.nat && d.last > last.last {
				last = d
			}
		}
		if last.Count > 0 && l.heard(site.end, site.other) <= last.last {
			final = append(final, last)
		}
	}
	if len(final) > 0 {
		d := slices.MinFunc(final, func(a, b Drop) int { return int(a.First - b.First) })
		return d.Node + ": " + d.Reason
	}
	for _, r := range l.Rows {
		if r.Refused != "" && r.Sent >= l.Punch {
			return r.Hops[len(r.Hops)-1].Node + ": " + r.Refused
		}
	}
	for _, d := range drops {
		if strings.HasPrefix(d.Node, "line of ") {
			return d.Node + ": " + d.Reason
		}
	}
	return "nothing was dropped"
}

// heard returns when an end got its last packet from another one; -1 if none.
func (l *Ladder) heard(end, from string) time.Duration {
	at := time.Duration(-1)
	for i := range l.Rows {
		r := &l.Rows[i]
		if r.Hops[0].Node == from && r.Hops[len(r.Hops)-1].Node == end && r.Dropped == "" && r.End > 0 {
			at = max(at, r.End)
		}
	}
	return at
}

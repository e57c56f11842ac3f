package matrix_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"shipworm/testnet/matrix"
)

// way describes a packet in a line: its word, its nodes, its end.
func way(r matrix.Row) string {
	var nodes []string
	for _, h := range r.Hops {
		nodes = append(nodes, h.Node)
	}
	end := "arrived"
	switch {
	case r.Dropped != "":
		end = r.Dropped
	case r.End == 0:
		end = "under way"
	}
	if r.Line != "" {
		nodes = append(nodes, "("+r.Line+")")
	}
	return fmt.Sprintf("%v %s: %s: %s", r.Sent, r.What, strings.Join(nodes, " > "), end)
}

// TestLadder follows each packet of one run through its nodes.
func TestLadder(t *testing.T) {
	c := run(t, matrix.Config{NATs: []string{"port-restricted", "symmetric"}, Seed: 1}).Cell("port-restricted", "symmetric")
	want := []string{
		"0s where am I?: A > NAT A > server: arrived",
		"0s where am I?: B > NAT B > server: arrived",
		"15ms you are: server > NAT A > A: arrived",
		"20ms you are: server > NAT B > B: arrived",
		"40ms call: A > NAT A > server: arrived",
		"55ms peer is: server > NAT A > A: arrived",
		"55ms peer is: server > NAT B > B: arrived",
		"70ms hello: A > NAT A > NAT B: filtered: the inside never sent to this address",
		"75ms hello: B > NAT B > NAT A: filtered: the inside sent to this address but not to this port",
	}
	for i, w := range want {
		if got := way(c.Ladder.Rows[i]); got != w {
			t.Errorf("packet %d: %s\nwant %s", i, got, w)
		}
	}
	if c.Ladder.Punch != 40*time.Millisecond {
		t.Errorf("the call is at %v, want 40 ms", c.Ladder.Punch)
	}
	first, last := c.Ladder.Rows[7].Hops[0], c.Ladder.Rows[7].Hops[2]
	if first.Src.Addr().String() != "192.168.1.2" || last.Src.Addr().String() != "198.51.100.1" || first.Dst != last.Dst {
		t.Errorf("hello left as %v > %v and came as %v > %v", first.Src, first.Dst, last.Src, last.Dst)
	}
	var dropped int
	for _, d := range c.Drops {
		dropped += d.Count
	}
	var rows int
	for _, r := range c.Ladder.Rows {
		if r.Dropped != "" {
			rows++
		}
		if r.Dropped == "" && r.End == 0 && r.Sent < c.Ladder.Length-100*time.Millisecond {
			t.Errorf("lost sight of %s", way(r))
		}
	}
	if dropped != rows || rows < 90 {
		t.Errorf("%d drops counted, %d packets dropped", dropped, rows)
	}
}

// TestLadderLoss: what a line loses ends on that line.
func TestLadderLoss(t *testing.T) {
	c := run(t, matrix.Config{NATs: []string{"cone"}, Seed: 5, Loss: 0.5}).Cells[0]
	lost := map[string]int{}
	for _, r := range c.Ladder.Rows {
		if r.Dropped != "" {
			lost[way(r)[strings.Index(way(r), ": ")+2:]]++
		}
	}
	if len(lost) == 0 {
		t.Fatal("nothing was lost")
	}
	for w := range lost {
		if !strings.Contains(w, "(NAT ") && !strings.Contains(w, "(internet)") || !strings.HasSuffix(w, "lost on the line") {
			t.Errorf("lost: %s", w)
		}
	}
}

// TestReason: drops that a punch overcomes are no reason; of those it does
// not, the first is.
func TestReason(t *testing.T) {
	const filtered, unmapped = "filtered", "no mapping"
	row := func(from, to string, sent, end time.Duration, dropped string) matrix.Row {
		return matrix.Row{Sent: sent, End: end, Dropped: dropped, Hops: []matrix.Hop{{Node: from, Time: sent}, {Node: to, Time: end}}}
	}
	for name, test := range map[string]struct {
		rows []matrix.Row
		want string
	}{
		"nothing": {nil, "nothing was dropped"},
		"one side heard the other in the end": {[]matrix.Row{
			row("A", "NAT B", 1, 2, unmapped), row("B", "NAT A", 1, 3, filtered), row("A", "B", 4, 5, ""),
		}, "NAT A: filtered"},
		"the reason changed": {[]matrix.Row{
			row("A", "NAT B", 1, 2, unmapped), row("A", "NAT B", 3, 4, filtered),
		}, "NAT B: filtered"},
		"both sides, B's NAT first": {[]matrix.Row{
			row("B", "NAT A", 1, 4, filtered), row("A", "NAT B", 1, 2, unmapped), row("A", "NAT B", 5, 6, unmapped),
		}, "NAT B: no mapping"},
		"heard before, not after": {[]matrix.Row{
			row("A", "B", 1, 2, ""), row("A", "NAT B", 3, 4, unmapped),
		}, "NAT B: no mapping"},
		"the program": {[]matrix.Row{
			{Sent: 1, End: 2, Refused: "source mismatch", Hops: []matrix.Hop{{Node: "A"}, {Node: "B"}}},
		}, "B: source mismatch"},
		"the line": {[]matrix.Row{
			{Sent: 1, End: 2, Dropped: "lost", Line: "NAT B", Hops: []matrix.Hop{{Node: "A"}, {Node: "NAT A"}}},
		}, "line of NAT B: lost"},
	} {
		l := matrix.Ladder{Rows: test.rows, Outcome: matrix.Failed}
		if got := l.Reason(); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
		l.Outcome = matrix.Connected
		if got := l.Reason(); got != "" {
			t.Errorf("%s, but connected: %q", name, got)
		}
	}
}

package matrix

import (
	"fmt"
	"time"
)

// A time may grow by a tenth and by 10 ms before that counts as a regression:
// less is a reordering of events, not something anybody would notice.
const (
	slackShare = 10
	slackTime  = 10 * time.Millisecond
)

// A Change is one cell that differs from the baseline.
type Change struct {
	From, To string
	// Worse tells a regression: a worse outcome, fewer runs that connected,
	// or clearly more time.
	Worse bool
	Was   Cell
	Now   Cell
}

// String returns the change in one line.
func (c Change) String() string {
	verdict := "changed"
	switch {
	case c.Worse:
		verdict = "WORSE"
	case c.Now.better(&c.Was):
		verdict = "better"
	}
	return fmt.Sprintf("%-7s  %s -> %s: was %s, is %s", verdict, c.From, c.To, c.Was.sentence(), c.Now.sentence())
}

func (c *Cell) better(was *Cell) bool {
	return c.Outcome.rank() < was.Outcome.rank() || c.Outcome == was.Outcome && c.OK > was.OK ||
		c.Outcome == was.Outcome && c.OK == was.OK && slower(was.Time, c.Time)
}

func slower(is, was time.Duration) bool { return is > was+was/slackShare && is > was+slackTime }

// sentence describes a cell in words.
func (c *Cell) sentence() string {
	switch c.Outcome {
	case Connected:
		return fmt.Sprintf("connected in %s with %s", seconds(c.Time), count(c.Packets, "packet"))
	case Sometimes:
		return fmt.Sprintf("connected in %d of %d runs, in %s (else %s)", c.OK, c.Runs, seconds(c.Time), c.Reason)
	case Failed:
		return fmt.Sprintf("without a path (%s)", c.Reason)
	}
	return fmt.Sprintf("without an address (%s)", c.Reason)
}

// A ConditionsError reports a baseline made under other conditions: the
// comparison would say nothing.
type ConditionsError struct{ What, Was, Is string }

func (e *ConditionsError) Error() string {
	return fmt.Sprintf("the baseline was made with %s %s, this table with %s", e.What, e.Was, e.Is)
}

// Compare returns the cells of t that differ from the baseline in outcome,
// runs that connected, time, packets or reason, in the table's order. Cells
// that only one of the two has are not compared. It fails with a
// *ConditionsError if method, runs, loss or limit differ; another seed is
// allowed.
func (t *Table) Compare(baseline *Table) ([]Change, error) {
	for _, c := range []ConditionsError{
		{"method", baseline.Method, t.Method},
		{"runs", fmt.Sprint(baseline.Runs), fmt.Sprint(t.Runs)},
		{"loss", fmt.Sprint(baseline.Loss), fmt.Sprint(t.Loss)},
		{"limit", baseline.Limit.String(), t.Limit.String()},
	} {
		if c.Was != c.Is {
			return nil, &c
		}
	}
	var out []Change
	for _, now := range t.Cells {
		was := baseline.Cell(now.From, now.To)
		if was == nil || was.same(&now) {
			continue
		}
		c := Change{From: now.From, To: now.To, Was: *was, Now: now}
		rank, before := now.Outcome.rank(), was.Outcome.rank()
		c.Worse = rank > before || now.OK < was.OK || rank == before && slower(now.Time, was.Time)
		out = append(out, c)
	}
	return out, nil
}

func (c *Cell) same(d *Cell) bool {
	return c.Outcome == d.Outcome && c.OK == d.OK && c.Time == d.Time && c.Packets == d.Packets && c.Reason == d.Reason
}

// Missing returns the pairs of the baseline that t has not: with a shorter
// list of NATs they were not tried.
func (t *Table) Missing(baseline *Table) int {
	n := 0
	for _, c := range baseline.Cells {
		if t.Cell(c.From, c.To) == nil {
			n++
		}
	}
	return n
}

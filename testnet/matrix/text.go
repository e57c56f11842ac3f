package matrix

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// conditions says in a line how the table was made.
func (t *Table) conditions() string {
	s := fmt.Sprintf("method %s, %s, seed %d", t.Method, count(len(t.Cells), "pair"), t.Seed)
	if t.Runs > 1 {
		s += fmt.Sprintf(", %d runs each", t.Runs)
	}
	if t.Loss > 0 {
		s += fmt.Sprintf(", %.3g %% lost on each NAT's line", t.Loss*100)
	}
	return s
}

// tally counts the outcomes.
func (t *Table) tally() map[Outcome]int {
	n := map[Outcome]int{}
	for i := range t.Cells {
		n[t.Cells[i].Outcome]++
	}
	return n
}

// summary is one line with the number of pairs of each outcome.
func (t *Table) summary() string {
	n := t.tally()
	var parts []string
	for _, o := range []Outcome{Connected, Sometimes, Failed, Unready} {
		if n[o] > 0 || o == Connected {
			parts = append(parts, fmt.Sprintf("%d %s", n[o], o.phrase()))
		}
	}
	return strings.Join(parts, ", ")
}

func (o Outcome) phrase() string {
	switch o {
	case Connected:
		return "connected"
	case Sometimes:
		return "connected in some runs"
	case Failed:
		return "found no path"
	}
	return "never learnt their address"
}

// A reason is a line of the legend: why pairs failed.
type reason struct {
	Key   string // a, b, ... aa
	Text  string
	Pairs int
}

// reasons returns the legend, in order of first use.
func (t *Table) reasons() []reason {
	var out []reason
	for i := range t.Cells {
		text := t.Cells[i].Reason
		if text == "" {
			continue
		}
		k := slices.IndexFunc(out, func(r reason) bool { return r.Text == text })
		if k < 0 {
			k = len(out)
			out = append(out, reason{Key: letters(k), Text: text})
		}
		out[k].Pairs++
	}
	return out
}

// letters counts a, b, ..., z, aa.
func letters(i int) string {
	s := string(rune('a' + i%26))
	if i >= 26 {
		s = letters(i/26-1) + s
	}
	return s
}

func keyOf(rs []reason, text string) string {
	for _, r := range rs {
		if r.Text == text {
			return r.Key
		}
	}
	return ""
}

// WriteText writes the table for a terminal, with its legend.
func (t *Table) WriteText(w io.Writer) error {
	rs := t.reasons()
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\nA row calls, a column answers.\n\n", t.Title, t.conditions())
	t.grid(&b, func(c *Cell) string { return c.text(rs) })
	fmt.Fprintf(&b, "\n%s.\n", upper(t.summary()))
	n := t.tally()
	if n[Connected]+n[Sometimes] > 0 {
		fmt.Fprintln(&b, "A time is from the call, both knowing their address, until each heard the other.")
	}
	for _, l := range []struct {
		o    Outcome
		text string
	}{
		{Sometimes, "~  connected in that share of the runs"},
		{Failed, "x  found no path in " + seconds(t.Limit)},
		{Unready, "!  an end never learnt its address"},
	} {
		if n[l.o] > 0 {
			fmt.Fprintln(&b, l.text)
		}
	}
	if len(rs) > 0 {
		fmt.Fprintln(&b, "The reason is the first drop that nothing undid (A calls, B answers):")
		for _, r := range rs {
			fmt.Fprintf(&b, "%s  %s (%s)\n", r.Key, r.Text, count(r.Pairs, "pair"))
		}
	}
	fmt.Fprint(&b, "\nPackets that the two ends and the server sent for it:\n\n")
	t.grid(&b, func(c *Cell) string { return fmt.Sprint(c.Packets) })
	// Columns are padded to the right; nobody wants that in a file.
	var lines []string
	for _, l := range strings.Split(b.String(), "\n") {
		lines = append(lines, strings.TrimRight(l, " "))
	}
	_, err := io.WriteString(w, strings.Join(lines, "\n"))
	return err
}

// grid writes something about each cell, under numbers of the columns.
func (t *Table) grid(b *strings.Builder, of func(*Cell) string) {
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprint(tw, "   \t")
	for i := range t.NATs {
		fmt.Fprintf(tw, "\t%d", i+1)
	}
	fmt.Fprintln(tw)
	for i, from := range t.NATs {
		fmt.Fprintf(tw, "%3d\t%s", i+1, from)
		for j := range t.NATs {
			fmt.Fprintf(tw, "\t%s", of(&t.Cells[i*len(t.NATs)+j]))
		}
		fmt.Fprintln(tw)
	}
	tw.Flush() // a builder takes everything
}

// text is the cell in a few characters.
func (c *Cell) text(rs []reason) string {
	switch c.Outcome {
	case Connected:
		return seconds(c.Time)
	case Sometimes:
		return fmt.Sprintf("~%s %s", c.share(), keyOf(rs, c.Reason))
	case Failed:
		return "x " + keyOf(rs, c.Reason)
	}
	return "! " + keyOf(rs, c.Reason)
}

// share is the part of the runs that connected; it never rounds to all or
// none.
func (c *Cell) share() string {
	p := 100 * c.OK / max(c.Runs, 1)
	if p == 0 && c.OK > 0 {
		p = 1
	}
	return fmt.Sprintf("%d%%", p)
}

// seconds is a duration in the unit a person would choose, of fixed places.
func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond)/time.Millisecond)
	}
	if d%time.Second == 0 {
		return fmt.Sprintf("%d s", d/time.Second)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

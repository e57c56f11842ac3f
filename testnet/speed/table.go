//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// A report is the finished table.
type report struct {
	Schema  int      `json:"schema"`
	Machine machine  `json:"machine"`
	Rounds  int      `json:"rounds"`
	Command string   `json:"command"`           // that repeats it
	Missing []string `json:"missing,omitempty"` // what was left out, and why
	Notes   []string `json:"notes,omitempty"`
	Rows    []line   `json:"rows"`
	Goals   []result `json:"goals"`
}

// A line is what came out of a series. Without N there is no figure, and Failed
// says why.
type line struct {
	Test   string    `json:"test"`
	Path   string    `json:"path"`
	Unit   string    `json:"unit"`
	N      int       `json:"n"` // rounds with a value
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Values []float64 `json:"values"` // in the order of the rounds
	Miredo *spread   `json:"x_miredo,omitempty"`
	Naive  *spread   `json:"x_naive,omitempty"`
	Failed []string  `json:"failed,omitempty"` // rounds without, and why
}

func (b *bench) report() report {
	r := report{Schema: 1, Machine: b.machine, Rounds: b.cfg.rounds, Command: b.cfg.command, Missing: b.missing, Notes: b.notes}
	for _, t := range tests {
		for _, k := range b.inOrder(t.name) {
			if _, w := rowOf(k.path); b.cfg.wants(w, t.figure) {
				r.Rows = append(r.Rows, b.line(t, k))
			}
		}
	}
	r.Goals = b.results()
	return r
}

// inOrder returns the series of a test in the order of kinds; others, which
// are no kind's, come as they were measured.
func (b *bench) inOrder(test string) (out []series) {
	for w := uso; w <= gro; w++ {
		for _, k := range kinds {
			if s := (series{test, row(k.id, w)}); b.has(s) {
				out = append(out, s)
			}
		}
	}
	for _, s := range b.order {
		if k, _ := rowOf(s.path); s.test == test && k == nil {
			out = append(out, s)
		}
	}
	return out
}

func (b *bench) line(t test, k series) line {
	x := line{Test: k.test, Path: k.path, Unit: t.unit, Values: values(b.points[k])}
	if x.N = len(x.Values); x.N > 0 {
		s := spreadOf(x.Values)
		x.Median, x.Min, x.Max = s.Median, s.Min, s.Max
	}
	if miredo, naive := compared(k.path); t.compared {
		x.Miredo = ratio(b.points[k], b.points[series{k.test, miredo}])
		x.Naive = ratio(b.points[k], b.points[series{k.test, naive}])
	}
	for _, f := range b.failed[k] {
		text := fmt.Sprintf("round %d: %v", f.round, f.err)
		if n := len(x.Failed); n > 0 && strings.HasSuffix(x.Failed[n-1], ": "+f.err.Error()) {
			continue // once is enough
		}
		x.Failed = append(x.Failed, text)
	}
	return x
}

// failures is an error if a figure is missing.
func (r report) failures() error {
	n := 0
	for _, x := range r.Rows {
		if len(x.Failed) > 0 {
			n++
		}
	}
	if n > 0 {
		return fmt.Errorf("%d rows of the table lack figures and say why", n)
	}
	return nil
}

// write writes the report as the command line wants it.
func (r report) write(c *config) error {
	var err error
	if c.markdown != "" {
		var b strings.Builder
		r.writeMarkdown(&b)
		err = os.WriteFile(c.markdown, []byte(b.String()), 0o644)
	}
	if c.json {
		return errors.Join(err, r.writeJSON(os.Stdout))
	}
	return errors.Join(err, r.writeText(os.Stdout))
}

func (r report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

func (r report) writeText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n", r.Machine)
	for _, l := range append(r.legend(), append(r.Notes, leftOut(r.Missing)...)...) {
		fmt.Fprintln(&b, l)
	}
	r.textGlance(&b)
	test := ""
	for _, x := range r.Rows {
		if x.Test != test {
			test = x.Test
			fmt.Fprintf(&b, "\n%-50s %9s %9s %9s %3s %9s %9s\n", title(test)+", "+x.Unit, "median", "min", "max", "n", "x Miredo", "x naive")
		}
		text := fmt.Sprintf("  %-48s", x.Path)
		if x.N > 0 {
			text += fmt.Sprintf(" %9s %9s %9s %3d %9s %9s", number(x.Median), number(x.Min), number(x.Max), x.N, times(x.Miredo), times(x.Naive))
		}
		fmt.Fprintln(&b, strings.TrimRight(text, " "))
		for _, f := range x.Failed {
			fmt.Fprintf(&b, "      failed in %s\n", f)
		}
	}
	if len(r.Goals) > 0 {
		fmt.Fprintf(&b, "\n%-62s %9s %9s\n", "Goals, as ratios in this run", "goal", "measured")
	}
	for _, g := range r.Goals {
		text := fmt.Sprintf("  %-60s %9s %9s  %s", g.Name, g.Goal, g.Measured, g.Result)
		fmt.Fprintln(&b, strings.TrimRight(text, " "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func times(s *spread) string {
	if s == nil {
		return ""
	}
	return fmt.Sprintf("%.2f", s.Median)
}

// number prints three figures or more.
func number(v float64) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 100:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
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
	Rows    []row    `json:"rows"`
	Goals   []result `json:"goals"`
}

// A row is what came out of a series.
type row struct {
	Test   string    `json:"test"`
	Path   string    `json:"path"`
	Unit   string    `json:"unit"`
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Values []float64 `json:"values"` // in the order of the rounds
	Miredo *spread   `json:"x_miredo,omitempty"`
	Naive  *spread   `json:"x_naive,omitempty"`
}

// A spread is the middle and the ends of a few values.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spreadOf(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return spread{(v[(n-1)/2] + v[n/2]) / 2, v[0], v[n-1]}
}

// ratio compares two series round by round; nil if one is missing.
func ratio(values, base []float64) *spread {
	if len(values) == 0 || len(values) != len(base) {
		return nil
	}
	var v []float64
	for i := range values {
		if base[i] <= 0 {
			return nil
		}
		v = append(v, values[i]/base[i])
	}
	s := spreadOf(v)
	return &s
}

func (b *bench) report() report {
	r := report{Schema: 1, Machine: b.machine, Rounds: b.cfg.rounds, Command: b.cfg.command, Missing: b.missing, Notes: b.notes}
	for _, t := range tests {
		for _, k := range b.order {
			if k.test != t.name || !b.cfg.wants(t.name) {
				continue
			}
			s := spreadOf(b.values[k])
			x := row{Test: k.test, Path: k.path, Unit: t.unit, Median: s.Median, Min: s.Min, Max: s.Max, Values: b.values[k]}
			if t.compared {
				x.Miredo = b.against(k, miredoOf[k.path])
				x.Naive = b.against(k, naiveOf[k.path])
			}
			r.Rows = append(r.Rows, x)
		}
	}
	r.Goals = b.results()
	return r
}

// against compares a series with that of another path.
func (b *bench) against(k series, path string) *spread {
	if path == "" || path == k.path {
		return nil
	}
	return ratio(b.values[k], b.values[series{k.test, path}])
}

func (r report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

func (r report) writeText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n%d rounds of every path in turn.\n", r.Machine, r.Rounds)
	for _, l := range append(legend(), append(r.Notes, leftOut(r.Missing)...)...) {
		fmt.Fprintln(&b, l)
	}
	test := ""
	for _, x := range r.Rows {
		if x.Test != test {
			test = x.Test
			fmt.Fprintf(&b, "\n%-36s %9s %9s %9s %3s %9s %9s\n", title(test)+", "+x.Unit, "median", "min", "max", "n", "x Miredo", "x naive")
		}
		line := fmt.Sprintf("  %-34s %9s %9s %9s %3d %9s %9s", x.Path, number(x.Median), number(x.Min), number(x.Max), len(x.Values), times(x.Miredo), times(x.Naive))
		fmt.Fprintln(&b, strings.TrimRight(line, " "))
	}
	if len(r.Goals) > 0 {
		fmt.Fprintf(&b, "\n%-62s %9s %9s\n", "Goals, as ratios in this run", "goal", "measured")
	}
	for _, g := range r.Goals {
		line := fmt.Sprintf("  %-60s %9s %9s  %s", g.Name, g.Goal, g.Measured, g.Result)
		fmt.Fprintln(&b, strings.TrimRight(line, " "))
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

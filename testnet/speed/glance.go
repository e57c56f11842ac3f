//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
)

// columns are the tests that a glance shows, and their short titles.
var columns = []struct{ test, title, unit string }{
	{"tcp1", "TCP 1", "Gbit/s"},
	{"tcp4", "TCP 4", "Gbit/s"},
	{"retrans1", "sent again", "1/1000"},
	{"udp", "UDP", "kpps"},
	{"ping-p50", "ping p50", "µs"},
	{"ping-p99", "ping p99", "µs"},
	{"cpu-tx", "CPU tx", "ns/pkt"},
	{"cpu-rx", "CPU rx", "ns/pkt"},
	{"allocs-tx", "allocs tx", "1/pkt"},
	{"allocs-rx", "allocs rx", "1/pkt"},
}

// glance returns the medians of paths, one path a line: titles, units, lines.
// It is empty unless there are several columns to see at once.
func (r report) glance() (lines [][]string) {
	cells := map[series]string{}
	var paths []string
	for _, x := range r.Rows {
		if k, _ := rowOf(x.Path); k == nil || x.N == 0 {
			continue
		}
		cells[series{x.Test, x.Path}] = number(x.Median)
		if !slices.Contains(paths, x.Path) && slices.ContainsFunc(columns, func(c struct{ test, title, unit string }) bool { return c.test == x.Test }) {
			paths = append(paths, x.Path)
		}
	}
	lines = [][]string{{"Medians at a glance"}, {""}}
	for _, p := range paths {
		lines = append(lines, []string{p})
	}
	for _, c := range columns {
		if !slices.ContainsFunc(paths, func(p string) bool { return cells[series{c.test, p}] != "" }) {
			continue
		}
		lines[0], lines[1] = append(lines[0], c.title), append(lines[1], c.unit)
		for i, p := range paths {
			lines[i+2] = append(lines[i+2], cells[series{c.test, p}])
		}
	}
	if len(lines[0]) < 4 {
		return nil
	}
	return lines
}

// textGlance writes it in columns.
func (r report) textGlance(b *strings.Builder) {
	for i, l := range r.glance() {
		if i == 0 {
			fmt.Fprintln(b)
		}
		text := fmt.Sprintf("%-46s", l[0])
		if i > 1 {
			text = fmt.Sprintf("  %-44s", l[0])
		}
		for _, c := range l[1:] {
			text += fmt.Sprintf(" %10s", c)
		}
		fmt.Fprintln(b, strings.TrimRight(text, " "))
	}
}

// pageGlance writes it as a table of a page.
func (r report) pageGlance(b *strings.Builder) {
	lines := r.glance()
	if lines == nil {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n|", lines[0][0])
	for i := range lines[0][1:] {
		fmt.Fprintf(b, " | %s, %s", lines[0][i+1], lines[1][i+1])
	}
	fmt.Fprintf(b, " |\n|%s\n", strings.Repeat("---|", len(lines[0])))
	for _, l := range lines[2:] {
		fmt.Fprintf(b, "| %s |\n", strings.Join(l, " | "))
	}
}

//go:build linux

package main

import (
	"fmt"
	"io"
	"strings"
)

// writeMarkdown writes the report as a page of documentation: the table, the
// machine it came from, and how to repeat it. What limits where a goal was not
// met is for a person to add, from a profile.
func (r report) writeMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Performance of the data plane\n\nMeasured on %s.\n%d rounds of every path in turn.\n", r.Machine, r.Rounds)
	fmt.Fprintf(&b, "\n## How to repeat it\n\n    %s\n\n", r.Command)
	fmt.Fprintln(&b, "It needs Linux and root, for Miredo, and the Debian packages that `make lab-packages` installs.")
	fmt.Fprintln(&b, "Leave the machine alone meanwhile. Its speed changes by the minute all the same: trust the ratios, not the figures.")
	fmt.Fprint(&b, "\n## What the rows mean\n\n")
	for _, l := range append(legend(), append(r.Notes, leftOut(r.Missing)...)...) {
		fmt.Fprintf(&b, "- %s\n", l)
	}
	fmt.Fprint(&b, "\n## Goals, as ratios in this run\n\n| | goal | measured | |\n|---|---|---|---|\n")
	for _, g := range r.Goals {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", g.Name, g.Goal, g.Measured, g.Result)
	}
	test := ""
	for _, x := range r.Rows {
		if x.Test != test {
			test = x.Test
			fmt.Fprintf(&b, "\n## %s\n\n| %s | median | min | max | n | x Miredo | x naive |\n|---|---|---|---|---|---|---|\n", title(test), x.Unit)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %d | %s | %s |\n", x.Path, number(x.Median), number(x.Min), number(x.Max), len(x.Values), times(x.Miredo), times(x.Naive))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// legend says what the reader must know of the rows.
func legend() []string {
	return []string{
		"Median, least and most of the rounds; x is the median of the ratios within a round.",
		"Two namespaces on one veth pair, which takes runs of UDP datagrams whole (USO wire) or has the kernel cut them first (no-USO wire).",
		"One load for all: TCP is cubic in segments of 1208 bytes on the bare line too, UDP is paced and sent 64 datagrams a call at most.",
		"CPU and allocations are those of the tunnel's process during one TCP stream, by data segment; a userspace stack is TCP, IP and the load as well.",
		"A server has one processor and is asked from a million addresses with 256 requests open; its rate limits are on.",
	}
}

func leftOut(missing []string) (out []string) {
	for _, m := range missing {
		out = append(out, "Left out: "+m+".")
	}
	return out
}

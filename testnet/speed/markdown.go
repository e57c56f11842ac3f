//go:build linux

package main

import (
	_ "embed"
	"fmt"
	"strings"
)

// limits is what a person wrote about the goals and what stands in their way.
//
//go:embed limits.md
var limits string

// writeMarkdown writes the report as a page of documentation: the goals, what
// limits them, the table, the machine it came from, and how to repeat it.
func (r report) writeMarkdown(b *strings.Builder) {
	fmt.Fprintf(b, "# Performance of the data plane\n\nWritten by `%s`; what is not a figure comes from `testnet/speed/limits.md`.\n\nMeasured on %s.\n", r.Command, r.Machine)
	fmt.Fprint(b, "\n## How to repeat it\n\n    make build lab-packages\n    go run ./testnet/speed --markdown docs/performance.md\n\n")
	fmt.Fprintln(b, "It needs Linux and root, for Miredo. Leave the machine alone meanwhile, some ten minutes. `make bench` prints the same")
	fmt.Fprintln(b, "table, `go run ./testnet/speed --help` says how to measure one figure or one path only.")
	fmt.Fprint(b, "\n## Goals, as ratios in this run\n\n| | goal | measured | |\n|---|---|---|---|\n")
	for _, g := range r.Goals {
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", g.Name, g.Goal, g.Measured, g.Result)
	}
	fmt.Fprintf(b, "\n%s\n## What the rows mean\n\n", limits)
	for _, l := range append(r.legend(), append(r.Notes, leftOut(r.Missing)...)...) {
		fmt.Fprintf(b, "- %s\n", l)
	}
	r.pageGlance(b)
	test := ""
	for _, x := range r.Rows {
		if x.Test != test {
			test = x.Test
			fmt.Fprintf(b, "\n## %s\n\n| %s | median | min | max | n | x Miredo | x naive |\n|---|---|---|---|---|---|---|\n", title(test), x.Unit)
		}
		if x.N > 0 {
			fmt.Fprintf(b, "| %s | %s | %s | %s | %d | %s | %s |\n", x.Path, number(x.Median), number(x.Min), number(x.Max), x.N, times(x.Miredo), times(x.Naive))
		} else {
			fmt.Fprintf(b, "| %s | - | - | - | 0 | | |\n", x.Path)
		}
	}
	head := "\n## What failed\n\n"
	for _, x := range r.Rows {
		for _, f := range x.Failed {
			fmt.Fprintf(b, "%s- %s, %s: %s\n", head, title(x.Test), x.Path, f)
			head = ""
		}
	}
}

// legend says what the reader must know of the rows.
func (r report) legend() []string {
	return []string{
		fmt.Sprintf("%d rounds take every path in turn, one test after the other, every second round backwards.", r.Rounds),
		"Median, least and most of the rounds; x is the median of the ratios within a round.",
		"Two namespaces on one veth pair, which takes runs of UDP datagrams whole (USO wire) or has the kernel cut them first (no-USO wire).",
		"The GRO wire has them cut as the no-USO wire has, and its ends join again what arrives, before sockets see it, as drivers of network cards do by default and veth does only if told: machines whose cards cannot cut runs meet this line rather than that one. No goal is about it.",
		"One load for all: TCP is cubic in segments of 1208 bytes on the bare line too, UDP is paced and sent 64 datagrams a call at most.",
		"UDP runs are no tunnel: messages of 51 datagrams of 1280 bytes are sent and read on the bare line, with a window, and nothing else; of each datagram what TCP has of it in a tunnel is counted. Their CPU is what the kernel alone needs for a datagram, whatever the tunnel.",
		"Pings of 56 bytes are sent 4 ms apart, so that all on their way have to wake up. Between kernels they take from the system call that sends to the kernel's time stamp on the answer, as ping has it; those of a userspace stack wake up as well.",
		"CPU and allocations are those of the tunnel's process during one TCP stream, by data segment; a userspace stack is TCP, IP and the load as well.",
		"TCP sent again: of 1000 data segments; where a userspace stack sends a run again, it counts one.",
		"A server has one processor, the load on it another, and is asked from a million addresses with 128 requests open; its rate limits are on. Answers are counted where they arrive, and nobody is woken for them. Its CPU for one of them is exact where another program took a part of the processor.",
	}
}

func leftOut(missing []string) (out []string) {
	for _, m := range missing {
		out = append(out, "Left out: "+m+".")
	}
	return out
}

//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
)

// A row is one thing that is measured, or with of a part of what another row
// measures. The zero goal is none.
type row struct {
	group, of, name, unit string
	goal                  float64
}

// Rows of the table.
var (
	rowQualified       = row{group: groupQualify, name: qualifiedWhole, unit: "ms"}
	rowQualifiedStart  = row{group: groupQualify, of: qualifiedWhole, name: "start of the process, to its first packet", unit: "ms"}
	rowQualifiedServer = row{group: groupQualify, of: qualifiedWhole, name: "solicitation to address printed", unit: "ms"}

	rowOpened        = row{group: groupOpen, name: openedWhole, unit: "ms"}
	rowOpenedTicket  = row{group: groupOpen, of: openedWhole, name: "start, and opening the ticket (Argon2)", unit: "ms"}
	rowOpenedQualify = row{group: groupOpen, of: openedWhole, name: "Teredo qualification", unit: "ms"}
	rowOpenedConnect = row{group: groupOpen, of: openedWhole, name: "NATs opened, QUIC, PAKE, User is asked", unit: "ms"}
	rowOpenedConsent = row{group: groupOpen, of: openedWhole, name: "the User's answer (a script, at once)", unit: "ms"}
	rowOpenedTold    = row{group: groupOpen, of: openedWhole, name: "the Helper's page is told", unit: "ms"}
	rowOpenedViewer  = row{group: groupOpen, of: openedWhole, name: "viewer opened, to ServerInit", unit: "ms"}
	rowOpenedFirst   = row{group: groupOpen, of: openedWhole, name: "to the first byte of the picture", unit: "ms"}
	rowOpenedFull    = row{group: groupOpen, of: openedWhole, name: "to the whole picture", unit: "ms"}
	rowOpenedBytes   = row{group: groupOpen, of: openedWhole, name: "size of the picture's stream", unit: "KiB"}

	rowKey = row{group: groupKey, name: "key event to changed picture", unit: "ms"}
)

const (
	groupQualify = "Teredo client qualifies"
	groupOpen    = "Invitation opened to first full frame"
	groupKey     = "Helper types, sees it in the viewer"

	qualifiedWhole = "process started to address printed"
	openedWhole    = "process started to whole picture"
)

func idleGroup(state string) string { return "Idle session, " + state }

// samples holds what was measured, rows in the order of their first value.
type samples struct {
	rows   []row
	values map[row][]float64
}

func (s *samples) add(r row, v float64) {
	if s.values == nil {
		s.values = map[row][]float64{}
	}
	if s.values[r] == nil {
		s.rows = append(s.rows, r)
	}
	s.values[r] = append(s.values[r], v)
}

// idleLine adds the rows of one home's line, both directions together.
func (s *samples) idleLine(state, line string, t traffic, span float64) {
	g := idleGroup(state)
	rate := func(k int) float64 { return 8 * float64(t.bytes[k]) / span }
	var bits, packets, keep float64
	for k := range kinds {
		bits += rate(k)
		packets += float64(t.packets[k]) / span
	}
	keep = bits - rate(kindOther)
	share := 0.0
	if bits > 0 {
		share = 100 * keep / bits
	}
	whole := line + ", besides keep-alives"
	s.add(row{group: g, name: whole, unit: "bit/s", goal: goalIdle}, rate(kindOther))
	for _, part := range []struct {
		name, unit string
		value      float64
	}{
		{"everything", "bit/s", bits},
		{"everything", "packets/s", packets},
		{"Teredo refresh", "bit/s", rate(kindServer)},
		{"Teredo bubbles", "bit/s", rate(kindBubble)},
		{fmt.Sprintf("QUIC up to %d bytes: heartbeats, acks", smallQUIC), "bit/s", rate(kindSmall)},
		{"share of these three", "% of bits", share},
	} {
		s.add(row{group: g, of: whole, name: part.name, unit: part.unit}, part.value)
	}
}

// A report is the finished table.
type report struct {
	Schema  int          `json:"schema"`
	Link    reportLink   `json:"link"`
	Rounds  int          `json:"rounds"`
	Cores   int          `json:"cores"`
	Load    string       `json:"load_average"` // 1 min, at the end
	Results []reportLine `json:"results"`
}

type reportLink struct {
	PeerMS   float64 `json:"peer_rtt_ms"`
	ServerMS float64 `json:"server_rtt_ms"`
	NATUser  string  `json:"nat_user"`
	NATHelp  string  `json:"nat_helper"`
}

type reportLine struct {
	Group  string    `json:"group"`
	Of     string    `json:"part_of,omitempty"`
	Name   string    `json:"name"`
	Unit   string    `json:"unit"`
	Goal   *float64  `json:"goal,omitempty"`
	Median float64   `json:"median"`
	P95    float64   `json:"p95"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	N      int       `json:"n"`
	Values []float64 `json:"values"` // in the order of their rounds
	Result string    `json:"result,omitempty"`
}

func (b *bench) report() report {
	goal := map[row]float64{rowQualified: b.goals.qualified(), rowOpened: b.goals.opened(), rowKey: b.goals.key()}
	r := report{Schema: 1, Rounds: b.cfg.bench.rounds, Cores: runtime.NumCPU(), Load: loadAverage(),
		Link: reportLink{ms(b.goals.peer), ms(b.goals.server), b.cfg.natA, b.cfg.natB}}
	var groups []string
	for _, x := range b.rows {
		if !slices.Contains(groups, x.group) {
			groups = append(groups, x.group)
		}
	}
	for _, g := range groups {
		for _, x := range b.rows {
			if x.group == g {
				r.Results = append(r.Results, x.line(b.values[x], max(x.goal, goal[x])))
			}
		}
	}
	return r
}

func (x row) line(values []float64, goal float64) reportLine {
	v := slices.Sorted(slices.Values(values))
	l := reportLine{Group: x.group, Of: x.of, Name: x.name, Unit: x.unit, N: len(v),
		Median: quantile(v, 0.5), P95: quantile(v, 0.95), Min: v[0], Max: v[len(v)-1], Values: values}
	if goal == 0 {
		return l
	}
	l.Goal = &goal
	switch {
	case l.Max <= goal:
		l.Result = "met"
	case l.P95 <= goal:
		l.Result = "met at p95"
	case l.Median <= goal:
		l.Result = "met by the median"
	default:
		l.Result = "MISSED"
	}
	return l
}

// quantile interpolates between the values, which are sorted.
func quantile(v []float64, q float64) float64 {
	at := q * float64(len(v)-1)
	lo := int(at)
	hi := min(lo+1, len(v)-1)
	return v[lo] + (v[hi]-v[lo])*(at-float64(lo))
}

func (r report) writeJSON(w io.Writer) error {
	for i := range r.Results {
		for _, f := range []*float64{&r.Results[i].Median, &r.Results[i].P95, &r.Results[i].Min, &r.Results[i].Max} {
			*f = math.Round(*f*1000) / 1000
		}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

func (r report) writeText(w io.Writer) error {
	fmt.Fprintf(w, "Speed of a session, %d rounds, on %d cores (load average %s).\n", r.Rounds, r.Cores, r.Load)
	fmt.Fprintf(w, "Round trip %g ms between the homes, %g ms from each home to the Teredo server;\n", r.Link.PeerMS, r.Link.ServerMS)
	fmt.Fprintf(w, "User behind a %s NAT, Helper behind a %s NAT; no loss.\n", r.Link.NATUser, r.Link.NATHelp)
	fmt.Fprintf(w, "Real shipworm processes; the browser is a page and a viewer in Go on the Helper's WebSockets.\n")
	group := ""
	for _, l := range r.Results {
		if l.Group != group {
			group = l.Group
			fmt.Fprintf(w, "\n%-48s %8s %8s %8s %8s %8s %4s\n", group, "goal", "median", "p95", "min", "max", "n")
		}
		name := "  " + l.Name
		if l.Of != "" {
			name = "  " + name
		}
		goal := "-"
		if l.Goal != nil {
			goal = number(*l.Goal)
		}
		line := fmt.Sprintf("%-48s %8s %8s %8s %8s %8s %4d  %-10s %s", name, goal, number(l.Median), number(l.P95),
			number(l.Min), number(l.Max), l.N, l.Unit, l.Result)
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	return nil
}

func number(v float64) string {
	if v != math.Trunc(v) && math.Abs(v) < 1 {
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

package scenario

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Verdict is what became of an expectation.
type Verdict string

// Verdicts.
const (
	VerdictHeld    Verdict = "held"
	VerdictFailed  Verdict = "failed"
	VerdictSkipped Verdict = "skipped" // nobody could tell
)

// A Result is what a run has shown. As JSON it is schema 1.
type Result struct {
	Title        string              `json:"title,omitempty"`
	Clock        string              `json:"clock"` // "simulation" or "laboratory"
	Seed         uint64              `json:"seed"`
	Took         time.Duration       `json:"took_ns"` // on that clock
	Trace        string              `json:"trace"`   // hash of all packets and their fates
	Packets      int                 `json:"trace_events"`
	Programs     []ProgramResult     `json:"programs"`
	Adversaries  []AdversaryResult   `json:"adversaries,omitempty"`
	Expectations []ExpectationResult `json:"expectations"`
}

// A ProgramResult is what became of a program.
type ProgramResult struct {
	Name    string          `json:"name"`
	Host    string          `json:"host"`
	Kind    Kind            `json:"kind"`
	Status  Status          `json:"status"`
	Exit    *int            `json:"exit,omitempty"` // of one that ended
	Note    string          `json:"note,omitempty"`
	Started time.Duration   `json:"started_ns,omitempty"` // after the start of the run
	Ended   time.Duration   `json:"ended_ns,omitempty"`
	Sent    int             `json:"sent,omitempty"` // requests of a ping
	RTTs    []time.Duration `json:"rtt_ns,omitempty"`
	Address string          `json:"address,omitempty"` // Teredo, at the end
	Mapped  string          `json:"mapped,omitempty"`
}

// An ExpectationResult is what became of an expectation.
type ExpectationResult struct {
	Line    int     `json:"line"` // in the file
	Text    string  `json:"expected"`
	Verdict Verdict `json:"verdict"`
	Seen    string  `json:"seen"` // what was seen, or why it is skipped
}

func (r *run) result(clock string) *Result {
	out := &Result{Title: r.s.Title, Clock: clock, Seed: r.seed, Took: r.now,
		Programs: []ProgramResult{}, Adversaries: r.deeds(), Expectations: []ExpectationResult{}}
	r.mu.Lock()
	out.Trace, out.Packets = r.hash.Sum(), r.hash.Len()
	r.mu.Unlock()
	for _, t := range r.tasks {
		p := ProgramResult{Name: t.Program.Name, Host: t.Program.Host.Name, Kind: t.Program.Kind,
			Status: t.status, Note: t.note, Started: t.started, Ended: t.ended, Sent: t.sent, RTTs: t.answers}
		switch t.status {
		case Ended:
			p.Exit = &t.exit
		case Waiting:
			p.Note = r.waitsFor(t)
		}
		if t.address.IsValid() {
			p.Address = t.address.String()
		}
		if t.mapped.IsValid() {
			p.Mapped = t.mapped.String()
		}
		out.Programs = append(out.Programs, p)
	}
	for _, x := range r.s.Expectations {
		out.Expectations = append(out.Expectations, r.judge(x))
	}
	return out
}

// Count returns how many expectations have a verdict.
func (r *Result) Count(v Verdict) int {
	n := 0
	for _, x := range r.Expectations {
		if x.Verdict == v {
			n++
		}
	}
	return n
}

// WriteJSON writes the result, schema 1.
func (r *Result) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Schema int `json:"schema"`
		*Result
	}{1, r})
}

// WriteText writes the result for people: the programs, the expectations with
// what was seen, and the sum.
func (r *Result) WriteText(w io.Writer) error {
	p := &printer{w: w}
	if r.Title != "" {
		p.printf("%s\n", r.Title)
	}
	p.printf("%s, seed %d\n\n", r.Clock, r.Seed)
	for _, g := range r.Programs {
		p.printf("%-7s  %s on %s: %s\n", g.Status, g.Name, g.Host, g.text())
	}
	for _, a := range r.Adversaries {
		where := ""
		if !a.Kind.hosted() {
			where = " on " + a.Node
		}
		p.printf("%-7s  %s%s: %s, %d packets seen, %d sent, %d swallowed\n", "foe", a.Name, where, a.Kind, a.Seen, a.Sent, a.Swallowed)
	}
	if len(r.Programs)+len(r.Adversaries) > 0 {
		p.printf("\n")
	}
	for _, x := range r.Expectations {
		p.printf("%-7s  line %d: %s: %s\n", x.Verdict, x.Line, x.Text, x.Seen)
	}
	if len(r.Expectations) > 0 {
		p.printf("\n")
	}
	p.printf("%d held, %d failed, %d skipped, %s of %s\ntrace %.16s, %d events\n",
		r.Count(VerdictHeld), r.Count(VerdictFailed), r.Count(VerdictSkipped), short(r.Took), r.Clock, r.Trace, r.Packets)
	return p.err
}

type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// text is the end of a program's line.
func (g *ProgramResult) text() string {
	s := string(g.Kind)
	if g.Exit != nil {
		s += fmt.Sprintf(", exit code %d after %s", *g.Exit, short(g.Ended-g.Started))
	}
	if g.Sent > 0 {
		s += fmt.Sprintf(", %d of %d answered", len(g.RTTs), g.Sent)
		if low, median, high, ok := spread(g.RTTs); ok {
			s += fmt.Sprintf(" in %s to %s, median %s", short(low), short(high), short(median))
		}
	}
	if g.Mapped != "" {
		s += ", mapping " + g.Mapped
	}
	if g.Note != "" {
		s += ", " + g.Note
	}
	return s
}

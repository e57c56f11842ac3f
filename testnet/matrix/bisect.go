package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"shipworm/testnet/nat"
)

// MaxChanges is the largest number of knobs that Bisect turns at once: with
// more, a search takes minutes, and a solution is no longer an explanation.
const MaxChanges = 4

// A Solution is a set of changes with which a pair connects.
type Solution struct {
	Changes []Adjust `json:"changes"`
	Cell    Cell     `json:"cell"`
}

// A Bisection is what Bisect found.
type Bisection struct {
	Method string
	Title  string
	// Before is the pair as it is.
	Before Cell
	// Solutions are all those with the smallest number of changes, in a fixed
	// order: A's NAT before B's, the more open setting first. It is empty if
	// the pair connects already, or if there is none.
	Solutions []Solution
	Tried     int // combinations
	Most      int // changes that were tried at once
	// Bare is how a program fared without a NAT, if no change of it helped:
	// the cause may be another one. Nil otherwise.
	Bare *Cell
}

// BisectConfig is Run's configuration, and the pair. NATs is not used.
type BisectConfig struct {
	Config
	A, B string
	// Most is how many knobs are turned at once at most; 0 means 3, and
	// MaxChanges is the limit.
	Most int
}

// Bisect finds the smallest changes of two NATs that make a pair connect: it
// tries every single change of a knob of either, then every two, and so on,
// and returns all solutions of the first number that has any. It returns
// early, with the cause, if ctx ends.
func Bisect(ctx context.Context, c BisectConfig) (*Bisection, error) {
	c.NATs = []string{c.A}
	if c.A != c.B {
		c.NATs = append(c.NATs, c.B)
	}
	var errs []error
	if c.Most == 0 {
		c.Most = 3
	}
	if c.Most < 1 || c.Most > MaxChanges {
		errs = append(errs, fmt.Errorf("%d changes at most: want 1 to %d", c.Most, MaxChanges))
	}
	if err := errors.Join(append(errs, c.check())...); err != nil {
		return nil, fmt.Errorf("matrix: %w", err)
	}
	a, _ := c.Profile(c.A)
	b, _ := c.Profile(c.B)
	out := &Bisection{Method: c.Method.Name(), Title: c.Method.Title()}
	var err error
	if out.Before, err = c.try(ctx, c.A, c.B, a, b); err != nil || out.Before.Outcome == Connected {
		return out, err
	}
	search := search{out: out, a: a, b: b, parallel: parallel(c.Method), try: func(a, b nat.Config) (Cell, error) { return c.try(ctx, c.A, c.B, a, b) }}
	if err := search.run(c.Most, append(adjustments("A", a, knobs()), adjustments("B", b, knobs())...)); err != nil {
		return nil, err
	}
	return out, nil
}

// A search looks for solutions and puts them into out.
type search struct {
	out      *Bisection
	a, b     nat.Config
	parallel int // tries at a time
	try      func(a, b nat.Config) (Cell, error)
}

// run tries one change, then two at once, and so on until there is a solution.
func (s *search) run(most int, changes []Adjust) error {
	for s.out.Most < most && len(s.out.Solutions) == 0 {
		s.out.Most++
		if err := s.probe(s.extend(nil, changes, nil)); err != nil {
			return err
		}
	}
	return nil
}

// extend adds to sets every set of out.Most changes that begins with chosen
// and with which the engine can do.
func (s *search) extend(sets [][]Adjust, rest, chosen []Adjust) [][]Adjust {
	if len(chosen) == s.out.Most {
		a, b := s.with(chosen)
		if valid(a) != nil || valid(b) != nil {
			return sets // overlapping ports, for one, need mappings that depend on the destination
		}
		return append(sets, chosen)
	}
	for i, x := range rest {
		// One knob has one position.
		if n := len(chosen); n > 0 && chosen[n-1].NAT == x.NAT && chosen[n-1].Knob == x.Knob {
			continue
		}
		sets = s.extend(sets, rest[i+1:], append(chosen[:len(chosen):len(chosen)], x))
	}
	return sets
}

// with returns the two NATs with changes.
func (s *search) with(changes []Adjust) (a, b nat.Config) {
	a, b = s.a, s.b
	for _, x := range changes {
		if x.NAT == "B" {
			x.set(&b)
		} else {
			x.set(&a)
		}
	}
	return a, b
}

// probe tries sets of changes, and keeps those that help in their order.
func (s *search) probe(sets [][]Adjust) error {
	cells, err := each(s.parallel, len(sets), func(i int) (Cell, error) { return s.try(s.with(sets[i])) })
	if err != nil {
		return err
	}
	s.out.Tried += len(sets)
	for i, cell := range cells {
		if cell.Outcome == Connected {
			s.out.Solutions = append(s.out.Solutions, Solution{sets[i], cell})
		}
	}
	return nil
}

// String returns the solution in one sentence.
func (s Solution) String() string {
	parts := make([]string, len(s.Changes))
	for i, c := range s.Changes {
		parts[i] = c.String()
	}
	return fmt.Sprintf("%s (%s)", strings.Join(parts, ", and "), seconds(s.Cell.Time))
}

// WriteText writes the result for a person.
func (b *Bisection) WriteText(w io.Writer) error {
	pair, verb := b.Before.From+" (A) -> "+b.Before.To+" (B)", "connects"
	var s strings.Builder
	verdict := b.Before.verdict()
	if b.Before.To == "" {
		pair, verb = b.Before.From, "succeeds"
		verdict = b.Before.Reason
		if b.Before.Outcome == Connected {
			verdict = "succeeds in " + seconds(b.Before.Time)
		}
	}
	fmt.Fprintf(&s, "%s, %s: %s\n", b.Title, pair, verdict)
	if b.Before.Outcome == Connected {
		fmt.Fprintln(&s, "There is nothing to change.")
	} else {
		switch n := len(b.Solutions); {
		case n == 0:
			fmt.Fprintf(&s, "No change of up to %s helps (%d tried).\n", count(b.Most, "knob"), b.Tried)
			switch {
			case b.Bare != nil && b.Bare.Outcome == Connected:
				fmt.Fprintf(&s, "Without a NAT it succeeds, in %s.\n", seconds(b.Bare.Time))
			case b.Bare != nil:
				fmt.Fprintf(&s, "Without a NAT it fails too: %s.\n", b.Bare.Reason)
			}
		default:
			fmt.Fprintf(&s, "It %s with %s, in %s (%d tried):\n", verb, count(b.Most, "change"), count(n, "way"), b.Tried)
		}
		for _, x := range b.Solutions {
			fmt.Fprintf(&s, "  %s\n", x)
		}
	}
	_, err := io.WriteString(w, s.String())
	return err
}

// WriteJSON writes the result for programs, in schema 1.
func (b *Bisection) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	solutions := b.Solutions
	if solutions == nil {
		solutions = []Solution{}
	}
	return enc.Encode(struct {
		Schema    int        `json:"schema"`
		Method    string     `json:"method"`
		Before    Cell       `json:"before"`
		Most      int        `json:"most"`
		Tried     int        `json:"tried"`
		Solutions []Solution `json:"solutions"`
		Bare      *Cell      `json:"without_nat,omitempty"`
	}{Schema, b.Method, b.Before, b.Most, b.Tried, solutions, b.Bare})
}

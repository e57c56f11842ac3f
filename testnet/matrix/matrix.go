// Package matrix answers which NATs a traversal method gets through: it lets
// the method connect a host behind each NAT with a host behind each other one,
// on the simulated Internet of testnet/sim, and tables the outcome with the
// time it took, the packets, and the NAT's reason where it failed.
//
// A [Method] is what is tried; [UDP] is the classic one, hole punching by
// rendezvous (RFC 5128, 3.3), written here. Others, such as Teredo, are
// brought by the caller, so that the laboratory depends on none of them.
//
// A [Stepped] method runs in virtual time and everything is drawn from one
// seed: the same configuration gives the same table, packet by packet, whatever
// the machine and however many of its processors take part. A [Blocking] one,
// a whole program in the end, needs the real clock. [Compare] holds a table
// against an earlier one; [Bisect] looks for the smallest change of two NATs
// that makes a pair connect which does not.
//
// Left out: two hosts behind the same NAT, and nested NATs, which are the
// business of a scenario.
//
//	t, err := matrix.Run(ctx, matrix.Config{Method: matrix.UDP{}, NATs: []string{"cone", "symmetric"}})
//	if err != nil {
//		return err
//	}
//	return t.WriteText(os.Stdout)
package matrix

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

// Defaults for zero fields of Config, and bounds; all of them are ours.
const (
	DefaultLimit = 10 * time.Second
	MaxNATs      = 32 // their ladders are kept in memory
	MaxRuns      = 10000
)

// readyLimit is the time that two ends get to learn their own address: it does
// not count for the attempt, and Teredo's slow start alone takes 15 s.
const readyLimit = 30 * time.Second

// Defaults returns the nine NATs of a table nobody chose any for: those of
// RFC 6081, figure 1, that the engine knows (without the two with UPnP, whose
// place Linux and a carrier's NAT take).
func Defaults() []string {
	return []string{
		"cone", "address-restricted", "port-restricted", "cgn", "linux",
		"symmetric-preserving", "symmetric-sequential", "symmetric-address", "symmetric",
	}
}

// Config says what to try. Only Method must be set.
type Config struct {
	// Method is how two hosts connect.
	Method Method
	// NATs are the rows and columns; empty means Defaults. A name occurs once.
	NATs []string
	// Profile finds the NAT of a name; nil means nat.ParseProfile. Its
	// External and Seed are replaced.
	Profile func(name string) (nat.Config, error)
	// Loss is the share of packets lost on the access line of each NAT, in
	// each direction, 0 to 1: between two hosts every packet passes two.
	Loss float64
	// Runs is how often each pair is tried, each time with other luck; 0
	// means once.
	Runs int
	// Limit is how long two ends may take to connect once both know their
	// address; 0 means DefaultLimit. It is virtual time.
	Limit time.Duration
	// Seed is where all luck comes from. A pair's luck does not depend on the
	// other pairs of the table.
	Seed uint64
}

// An Outcome is how a pair fared.
type Outcome string

// Outcomes, from the best to the worst.
const (
	Connected Outcome = "connected" // in every run
	Sometimes Outcome = "sometimes" // in some runs
	Failed    Outcome = "failed"    // both knew their address, and no path was found
	Unready   Outcome = "unready"   // an end did not even learn its address
)

func (o Outcome) rank() int {
	return slices.Index([]Outcome{Connected, Sometimes, Failed, Unready}, o)
}

// A Cell is the result for one pair: a host behind From calls one behind To.
type Cell struct {
	From    string  `json:"from"`
	To      string  `json:"to"`
	Outcome Outcome `json:"outcome"`
	Runs    int     `json:"runs"`
	OK      int     `json:"ok"` // runs that connected
	// Time is how long connecting took, from the moment both ends knew their
	// address until each had heard the other; the median of the runs that
	// connected, 0 if none did.
	Time time.Duration `json:"time_ns"`
	// Packets is how many packets the two ends and the server sent in that
	// time, or until the attempt was over: the median over the runs that
	// decided the outcome.
	Packets int `json:"packets"`
	// Reason is the first drop that stood in the way for good, as
	// "NAT B: filtered: ..."; empty if every run connected.
	Reason string `json:"reason,omitempty"`
	// Drops are all drops of the run that the ladder shows.
	Drops []Drop `json:"drops,omitempty"`
	// Ladder shows one run: the first that failed, or else the first.
	Ladder Ladder `json:"-"`
}

// A Table is the result for all pairs.
type Table struct {
	Method string
	Title  string // of the method, for people
	NATs   []string
	Loss   float64
	Runs   int
	Seed   uint64
	Limit  time.Duration
	Cells  []Cell // row by row: len(NATs) squared
}

// Cell returns the cell of a pair, or nil if it is not in the table.
func (t *Table) Cell(from, to string) *Cell {
	for i := range t.Cells {
		if c := &t.Cells[i]; c.From == from && c.To == to {
			return c
		}
	}
	return nil
}

// check fills in the defaults and returns every problem.
func (c *Config) check() error {
	var errs []error
	switch c.Method.(type) {
	case Stepped, Blocking:
	default:
		errs = append(errs, errors.New("no method"))
	}
	if len(c.NATs) == 0 {
		c.NATs = Defaults()
	}
	if c.Profile == nil {
		c.Profile = nat.ParseProfile
	}
	if c.Runs == 0 {
		c.Runs = 1
	}
	if c.Limit == 0 {
		c.Limit = DefaultLimit
	}
	if c.Runs < 0 || c.Runs > MaxRuns {
		errs = append(errs, fmt.Errorf("%d runs: want 1 to %d", c.Runs, MaxRuns))
	}
	if c.Limit < 0 || c.Limit > time.Hour {
		errs = append(errs, fmt.Errorf("limit %v: want up to an hour", c.Limit))
	}
	if err := (link.Config{Loss: c.Loss}).Validate(); err != nil {
		errs = append(errs, err)
	}
	if len(c.NATs) > MaxNATs {
		errs = append(errs, fmt.Errorf("%d NATs: at most %d", len(c.NATs), MaxNATs))
	}
	for i, name := range c.NATs {
		if slices.Contains(c.NATs[:i], name) {
			errs = append(errs, fmt.Errorf("NAT %q occurs twice", name))
		}
		n, err := c.Profile(name)
		if err == nil {
			err = valid(n)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("NAT %q: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// valid returns what the engine has against a NAT of the table.
func valid(c nat.Config) error {
	c.External = nil
	if !c.NoTranslation {
		c.External = siteExternal(1)
	}
	return c.Validate()
}

// Run tries every pair. It returns early, with the cause, if ctx ends.
func Run(ctx context.Context, c Config) (*Table, error) {
	c.NATs = slices.Clone(c.NATs)
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("matrix: %w", err)
	}
	n := len(c.NATs)
	cells, err := each(parallel(c.Method), n*n, func(i int) (Cell, error) { return c.pair(ctx, c.NATs[i/n], c.NATs[i%n]) })
	if err := errors.Join(context.Cause(ctx), err); err != nil {
		return nil, err
	}
	return &Table{
		Method: c.Method.Name(), Title: c.Method.Title(), NATs: c.NATs,
		Loss: c.Loss, Runs: c.Runs, Seed: c.Seed, Limit: c.Limit, Cells: cells,
	}, nil
}

// parallel is how many attempts are made at a time: those that wait for the
// real clock wait together.
func parallel(m Method) int {
	if _, ok := m.(Blocking); ok {
		return maxWaiting
	}
	return runtime.GOMAXPROCS(0)
}

// each fills n cells, some of them at a time, and returns the first error in
// their order. After an error it begins no other.
func each(parallel, n int, try func(i int) (Cell, error)) ([]Cell, error) {
	cells, errs := make([]Cell, n), make([]error, n)
	todo := make(chan int)
	var failed atomic.Bool
	var workers sync.WaitGroup
	for range min(parallel, n) {
		workers.Go(func() {
			for i := range todo {
				if failed.Load() {
					continue
				}
				if cells[i], errs[i] = try(i); errs[i] != nil {
					failed.Store(true)
				}
			}
		})
	}
	for i := range n {
		todo <- i
	}
	close(todo)
	workers.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return cells, nil
}

// pair fills the cell of two named NATs.
func (c *Config) pair(ctx context.Context, from, to string) (Cell, error) {
	a, _ := c.Profile(from)
	b, _ := c.Profile(to)
	return c.try(ctx, from, to, a, b)
}

// try fills the cell of two NATs.
func (c *Config) try(ctx context.Context, from, to string, a, b nat.Config) (Cell, error) {
	cell := Cell{From: from, To: to, Runs: c.Runs}
	var good, bad []result
	for run := range c.Runs {
		if ctx.Err() != nil {
			return cell, context.Cause(ctx)
		}
		r, err := c.once(ctx, from, to, a, b, run)
		if err != nil {
			return cell, fmt.Errorf("%s to %s: %w", from, to, err)
		}
		// One ladder a cell is shown; the others would only be memory.
		if run > 0 && (r.outcome == Connected || len(bad) > 0) {
			r.ladder = Ladder{}
		}
		if r.outcome == Connected {
			good = append(good, r)
		} else {
			bad = append(bad, r)
		}
	}
	cell.OK = len(good)
	switch {
	case len(bad) == 0:
		cell.Outcome = Connected
	case len(good) > 0:
		cell.Outcome = Sometimes
	default:
		cell.Outcome = Unready
		for _, r := range bad {
			if r.outcome == Failed {
				cell.Outcome = Failed
			}
		}
	}
	decided := good
	if len(good) == 0 {
		decided = bad
	} else {
		cell.Time = median(good, func(r result) time.Duration { return r.took })
	}
	cell.Packets = median(decided, func(r result) int { return r.packets })
	shown := good
	if len(bad) > 0 {
		shown = bad
		cell.Reason = bad[0].ladder.Reason()
	}
	cell.Ladder = shown[0].ladder
	cell.Drops = cell.Ladder.Drops()
	return cell, nil
}

// median returns the lower median, so that it is a value that occurred.
func median[T int | time.Duration](rs []result, of func(result) T) T {
	vs := make([]T, len(rs))
	for i, r := range rs {
		vs[i] = of(r)
	}
	slices.Sort(vs)
	return vs[(len(vs)-1)/2]
}

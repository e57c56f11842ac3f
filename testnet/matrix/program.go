package matrix

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"shipworm/testnet/nat"
)

// A Trial is how a program fared behind a NAT.
type Trial struct {
	OK     bool
	Time   time.Duration
	Reason string // why not, such as its exit code; empty if OK
}

// ProgramConfig is a program that fails behind a NAT.
type ProgramConfig struct {
	Title string // of the program, for people
	Name  string // of the NAT
	NAT   nat.Config
	// Most is how many knobs are turned at once at most; 0 means 1, since
	// each combination runs the program, and MaxChanges is the limit.
	Most int
	// Try runs the program behind a NAT. An error ends the search; a program
	// that fails is none.
	Try func(ctx context.Context, c nat.Config) (Trial, error)
}

// BisectProgram finds the smallest changes of a NAT that make a program
// succeed behind it, as Bisect does for a pair. Programs speak more than UDP,
// so further knobs are turned: other protocols, TCP's own behaviour,
// fragments, ICMP errors and limits. Where none helps, the program runs once
// without a NAT.
func BisectProgram(ctx context.Context, c ProgramConfig) (*Bisection, error) {
	if c.Most == 0 {
		c.Most = 1
	}
	var errs []error
	if c.Most < 1 || c.Most > MaxChanges {
		errs = append(errs, fmt.Errorf("%d changes at most: want 1 to %d", c.Most, MaxChanges))
	}
	if err := valid(c.NAT); err != nil {
		errs = append(errs, fmt.Errorf("NAT %q: %w", c.Name, err))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("matrix: %w", err)
	}
	try := func(a, _ nat.Config) (Cell, error) {
		if ctx.Err() != nil {
			return Cell{}, context.Cause(ctx)
		}
		t, err := c.Try(ctx, a)
		cell := Cell{From: c.Name, Outcome: Failed, Runs: 1, Reason: t.Reason}
		if t.OK {
			cell.Outcome, cell.OK, cell.Time = Connected, 1, t.Time
		}
		return cell, err
	}
	out := &Bisection{Method: "program", Title: c.Title}
	var err error
	if out.Before, err = try(c.NAT, nat.Config{}); err != nil || out.Before.Outcome == Connected {
		return out, err
	}
	// One at a time: programs would get in each other's way.
	s := search{out: out, a: c.NAT, b: nat.Config{NoTranslation: true}, parallel: 1, try: try}
	if err := s.run(c.Most, adjustments("", c.NAT, slices.Concat(knobs(), programKnobs()))); err != nil {
		return nil, err
	}
	if len(out.Solutions) > 0 {
		return out, nil
	}
	bare, err := try(nat.Config{NoTranslation: true}, nat.Config{})
	if err != nil {
		return nil, err
	}
	bare.From = "none"
	out.Bare = &bare
	return out, nil
}

// programKnobs are what decides about programs only. Each has the open
// position alone: that closing something helps nobody needs to hear.
func programKnobs() []knob {
	quirk := func(name, was, is string, in func(*nat.Config) bool, open func(*nat.Config)) knob {
		return knob{name, func(c *nat.Config) string {
			if in(c) {
				return was
			}
			return is
		}, []setting{{is, open}}}
	}
	return []knob{
		{"blocked protocol", func(c *nat.Config) string {
			if c.Block == 0 || c.Block == 17 { // UDP has a knob of its own
				return "none"
			}
			return fmt.Sprint(c.Block)
		}, []setting{{"none", func(c *nat.Config) { c.Block = 0 }}}},
		quirk("TCP mapping", "of its own", "as UDP",
			func(c *nat.Config) bool { return c.TCPMapping != nat.SameAsUDP }, func(c *nat.Config) { c.TCPMapping = nat.SameAsUDP }),
		quirk("TCP filtering", "of its own", "as UDP",
			func(c *nat.Config) bool { return c.TCPFiltering != nat.SameAsUDP }, func(c *nat.Config) { c.TCPFiltering = nat.SameAsUDP }),
		quirk("TCP from outside", "refused", "as the filter says",
			func(c *nat.Config) bool { return c.TCPOutboundOnly }, func(c *nat.Config) { c.TCPOutboundOnly = false }),
		{"fragments", func(c *nat.Config) string { return c.Fragments.String() }, []setting{
			{nat.FragmentsAnyOrder.String(), func(c *nat.Config) { c.Fragments = nat.FragmentsAnyOrder }},
		}},
		quirk("ICMP errors", "dropped", "let through",
			func(c *nat.Config) bool { return c.DropICMPErrors }, func(c *nat.Config) { c.DropICMPErrors = false }),
		quirk("other protocols", "dropped", "translated",
			func(c *nat.Config) bool { return !c.OtherProtocols }, func(c *nat.Config) { c.OtherProtocols = true }),
		quirk("limits of one host", "set", "none", hostLimited, func(c *nat.Config) {
			c.MaxPerHost, c.HostLimits, c.HostRate, c.MaxPeersPerHost = 0, nat.Limits{}, 0, 0
		}),
		quirk("TCP lifetimes", "set", "the default", func(c *nat.Config) bool {
			return c.TCPEstablished != 0 || c.TCPTransitory != 0 || c.TCPOpening != 0
		}, func(c *nat.Config) { c.TCPEstablished, c.TCPTransitory, c.TCPOpening = 0, 0, 0 }),
	}
}

func hostLimited(c *nat.Config) bool {
	return c.MaxPerHost != 0 || c.HostLimits != (nat.Limits{}) || c.HostRate != 0 || c.MaxPeersPerHost != 0
}

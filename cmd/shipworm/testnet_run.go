package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"shipworm/testnet/scenario"
	"shipworm/testnet/trace"
)

// runOptions are the flags of `testnet run`.
type runOptions struct {
	file      string
	simulated bool
	real      bool
	seed      uint64
	json      bool
	trace     string
	verbose   bool
}

func newTestnetRunCmd() *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "run FILE [--sim | --lab]",
		Short: "Run the experiment that a scenario file describes",
		Long: `Run the experiment that a scenario file describes: a network of hosts, NATs and
lines, what happens to it and when, the programs on it, and what is expected.
The format is described in docs/scenario.md; docs/scenarios has examples.

By default it runs in virtual time, in this process and with no socket, and the
same seed gives the same packets: compare the hashes. With --lab it runs on the
real clock, in network namespaces of its own; root is not needed. Programs of
this machine (exec) run in the laboratory only: in virtual time they are
skipped, with what is expected of them. The result comes at the end; what
happens meanwhile is told on a terminal, or with --verbose.

Exit code 0: every expectation held, or was skipped. 1: one failed. 2: the file
or a flag is wrong; each problem is printed as FILE:LINE:COLUMN, and nothing was
started.`,
		Example: `  shipworm testnet run docs/scenarios/two-homes.toml
  shipworm testnet run docs/scenarios/curl-iperf3.toml --lab
  shipworm testnet run docs/scenarios/nat-reboot.toml --seed 7 --trace evidence`,
		Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.file = args[0]
			if o.seed == 0 && c.Flags().Changed("seed") {
				return usageError(errors.New("testnet run: --seed 0: want 1 or more"))
			}
			return o.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.BoolVar(&o.simulated, "sim", false, "in virtual time (the default)")
	f.BoolVar(&o.real, "lab", false, "on the real clock, in network namespaces")
	f.Uint64Var(&o.seed, "seed", 0, "`number` that decides every die (default: the file's)")
	f.BoolVar(&o.json, "json", false, "print JSON")
	f.StringVar(&o.trace, "trace", "", traceUsage)
	f.BoolVarP(&o.verbose, "verbose", "v", false, "tell what happens when, and what programs print in the laboratory, on stderr")
	return c
}

func (o *runOptions) run(ctx context.Context, out, stderr io.Writer) error {
	if o.simulated && o.real {
		return usageError(errors.New("testnet run: --sim and --lab: want one of them"))
	}
	s, err := scenario.Load(o.file)
	if err != nil {
		return o.badFile(err, stderr)
	}
	if o.real {
		if err := s.Installed(); err != nil {
			return o.badFile(err, stderr)
		}
	}
	opts := scenario.Options{Seed: o.seed, Programs: ownPrograms()}
	if opts.Recorder, err = newTrace("testnet run", o.trace); err != nil {
		return err
	}
	lines := &linePrinter{w: stderr}
	if o.verbose {
		opts.Output = lines.output
	}
	if o.verbose || o.real && term.IsTerminal(int(os.Stderr.Fd())) {
		opts.Progress = lines.progress
	}
	if o.real {
		return performScenario(ctx, s, opts, o, out)
	}
	r, err := scenario.Simulate(ctx, s, opts)
	return o.finish(ctx, r, err, opts.Recorder, out)
}

// ownPrograms are our programs in both clocks: machines and packets of teredo
// and upnp in virtual time, this executable in the laboratory.
func ownPrograms() map[scenario.Kind]scenario.Runner {
	return map[scenario.Kind]scenario.Runner{
		scenario.TeredoServer: scenarioServer{},
		scenario.TeredoClient: scenarioClient{},
		scenario.TeredoPing:   scenarioPing{},
		scenario.PortMap:      scenarioPortMap{},
	}
}

// self is a command line of this program.
func self(args ...string) ([]string, error) {
	path, err := os.Executable()
	return append([]string{path}, args...), err
}

// badFile prints the problems of a file as compilers do.
func (o *runOptions) badFile(err error, stderr io.Writer) error {
	var bad *scenario.FileError
	if !errors.As(err, &bad) {
		return usageError(fmt.Errorf("testnet run: %w", err))
	}
	for _, p := range bad.Problems {
		fmt.Fprintf(stderr, "%s:%v\n", o.file, p)
	}
	count := "1 problem"
	if n := len(bad.Problems); n > 1 {
		count = fmt.Sprintf("%d problems", n)
	}
	return withHint(usageError(fmt.Errorf("testnet run: %s: %s, nothing was started", o.file, count)),
		"docs/scenario.md describes the format")
}

// finish prints a result and gives it its exit code.
func (o *runOptions) finish(ctx context.Context, r *scenario.Result, err error, rec *trace.Recorder, out io.Writer) error {
	if rec != nil { // of a run that failed it is wanted most
		if saved := rec.Save(o.trace); saved != nil {
			err = errors.Join(err, saved)
		}
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return oneLine(fmt.Errorf("testnet run: %s: %w", o.file, err))
	case o.json:
		err = r.WriteJSON(out)
	default:
		err = r.WriteText(out)
	}
	if err != nil {
		return err
	}
	if n := r.Count(scenario.VerdictFailed); n > 0 {
		return fmt.Errorf("testnet run: %s: %d of %d expectations failed", o.file, n, len(r.Expectations))
	}
	return nil
}

// A linePrinter prints lines of several programs, each as a whole, and what
// happens between them.
type linePrinter struct {
	mu sync.Mutex
	w  io.Writer
}

func (p *linePrinter) output(program, line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, "%s| %s\n", program, line)
}

func (p *linePrinter) progress(at time.Duration, what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, "%8.3f s  %s\n", at.Seconds(), what)
}

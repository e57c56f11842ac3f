package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"shipworm/testnet/matrix"
	"shipworm/testnet/nat"
)

// matrixFlags are those that matrix and bisect share.
type matrixFlags struct {
	method string
	loss   percentage
	runs   int
	seed   uint64
}

func (f *matrixFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.method, "method", "teredo", "how two hosts connect: teredo, udp, upnp or ra")
	c.Flags().Var(&f.loss, "loss", "`share` of packets lost on each NAT's line, each way, as 5% or 0.05")
	c.Flags().IntVar(&f.runs, "runs", 1, "try each pair so many times")
	c.Flags().Uint64Var(&f.seed, "seed", 1, "seed of all luck: the same seed gives the same result")
}

// config joins the flags to a configuration.
func (f *matrixFlags) config(c *cobra.Command) (matrix.Config, error) {
	out := matrix.Config{Runs: f.runs, Seed: f.seed, Loss: float64(f.loss), Profile: namedNAT}
	var err error
	if out.Method, err = matrixMethod(commandName(c), f.method); err != nil {
		return out, err
	}
	if f.runs < 1 || f.runs > matrix.MaxRuns {
		return out, usageError(fmt.Errorf("%s: --runs %d: want 1 to %d", commandName(c), f.runs, matrix.MaxRuns))
	}
	return out, nil
}

// matrixMethod finds a method.
func matrixMethod(command, name string) (matrix.Method, error) {
	switch name {
	case "teredo":
		return teredoMethod{}, nil
	case "udp":
		return matrix.UDP{}, nil
	case "ra":
		return raMethod{}, nil
	case "upnp":
		return upnpMethod{}, nil
	}
	return nil, withHint(usageError(fmt.Errorf("%s: --method %q: there is no such method", command, name)), "there are teredo, udp, upnp and ra")
}

// namedNAT finds a NAT by its name or, with a slash or a dot in it, in a file.
func namedNAT(name string) (nat.Config, error) {
	if strings.ContainsAny(name, "./\\") {
		return nat.LoadProfile(name)
	}
	c, ok := nat.Profile(name)
	if !ok {
		return c, nat.ErrNoProfile
	}
	return c, nil
}

// matrixError makes an unknown NAT a usage error with a hint, and one line of
// several problems.
func matrixError(ctx context.Context, command string, err error) error {
	if ctx.Err() != nil {
		return err
	}
	text := strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\n", "; "), "matrix: ")
	line := fmt.Errorf("%s: %s", command, text)
	if errors.Is(err, nat.ErrNoProfile) {
		return withHint(usageError(line), "shipworm testnet list shows the NATs")
	}
	return line
}

func newTestnetMatrixCmd() *cobra.Command {
	var f matrixFlags
	var nats []string
	var asJSON bool
	var html, check, save string
	c := &cobra.Command{
		Use:   "matrix",
		Short: "Table which NATs a traversal method gets through",
		Long: `Table which NATs a traversal method gets through: a host behind each NAT calls
one behind each other. It takes place in virtual time, so a table of a hundred
pairs is a matter of a moment, and the same seed gives the same table.

Each cell tells how long connecting took, or the NAT's own reason why it did
not. --html writes one file, with nothing from elsewhere, in which each cell opens
the ladder of its packets.

A NAT is one of "shipworm testnet list", or a file with a profile in JSON.

Methods: teredo, two clients of this program and a server; udp, classic hole
punching by rendezvous; upnp, a port that the called host maps at its router,
which speaks PCP and NAT-PMP whatever its NAT; ra, a Remote Assistance connection
over Teredo, from the first datagram to the proof of the password. The last two
run on the real clock: a table takes as long as its slowest pairs, and its times
are this machine's.

--save keeps the result as a baseline, --check compares with one: a cell that
became worse (a worse outcome, fewer runs that connected, a tenth and 10 ms more
time) is a failure.`,
		Example: `  shipworm testnet matrix
  shipworm testnet matrix --method udp --nats cone,port-restricted,symmetric
  shipworm testnet matrix --loss 5% --runs 100 --html report.html
  shipworm testnet matrix --save baseline.json
  shipworm testnet matrix --check baseline.json`,
		Args: exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := f.config(c)
			if err != nil {
				return err
			}
			if asJSON && html == "-" {
				return usageError(fmt.Errorf("%s: --json and --html - both want the standard output", commandName(c)))
			}
			cfg.NATs = nats
			for i, n := range nats {
				if slices.Contains(nats[:i], n) {
					return usageError(fmt.Errorf("%s: --nats: %q occurs twice", commandName(c), n))
				}
			}
			if len(nats) > matrix.MaxNATs {
				return usageError(fmt.Errorf("%s: --nats: %d of them, at most %d", commandName(c), len(nats), matrix.MaxNATs))
			}
			return runMatrix(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), commandName(c), cfg, matrixOutput{asJSON, html, check, save})
		},
	}
	f.add(c)
	c.Flags().StringSliceVar(&nats, "nats", nil, "NATs of the table, with commas between (default: "+strings.Join(matrix.Defaults(), ", ")+")")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().StringVar(&html, "html", "", "write a page with the ladders to this `file` (- for the standard output)")
	c.Flags().StringVar(&check, "check", "", "compare with a saved `file`; fail if a cell became worse")
	c.Flags().StringVar(&save, "save", "", "save the result to this `file`, for --check")
	return c
}

// matrixOutput says where the result goes.
type matrixOutput struct {
	json              bool
	html, check, save string
}

func runMatrix(ctx context.Context, stdout, stderr io.Writer, command string, cfg matrix.Config, out matrixOutput) error {
	// The files first: a bad one should not cost the run.
	var baseline *matrix.Table
	if out.check != "" {
		b, err := os.ReadFile(out.check)
		if err != nil {
			return fmt.Errorf("%s: --check: %w", command, err)
		}
		if baseline, err = matrix.ReadJSON(b); err != nil {
			return fmt.Errorf("%s: --check %s: %w", command, out.check, err)
		}
	}
	for _, file := range []string{out.html, out.save} {
		if _, err := os.Stat(filepath.Dir(file)); err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
	}
	defer sayIfSlow("trying every pair")()
	t, err := matrix.Run(ctx, cfg)
	if err != nil {
		return matrixError(ctx, command, err)
	}
	var changes []matrix.Change
	if baseline != nil {
		if changes, err = t.Compare(baseline); err != nil {
			return usageError(fmt.Errorf("%s: --check %s: %w", command, out.check, err))
		}
	}
	switch {
	case out.json:
		err = t.WriteJSON(stdout)
	case out.html != "-":
		err = t.WriteText(stdout)
	}
	if err != nil {
		return err
	}
	if out.save != "" {
		if err := writeTo(stdout, out.save, t.WriteJSON); err != nil {
			return fmt.Errorf("%s: --save: %w", command, err)
		}
	}
	if out.html != "" {
		if err := writeTo(stdout, out.html, t.WriteHTML); err != nil {
			return fmt.Errorf("%s: --html: %w", command, err)
		}
	}
	if baseline == nil {
		return nil
	}
	if out.json || out.html == "-" {
		stdout = stderr // the result for programs stays alone
	}
	return reportChanges(stdout, command, t, baseline, changes)
}

// reportChanges prints every changed cell and fails if one became worse.
func reportChanges(w io.Writer, command string, t, baseline *matrix.Table, changes []matrix.Change) error {
	worse := 0
	for _, c := range changes {
		fmt.Fprintln(w, c)
		if c.Worse {
			worse++
		}
	}
	if n := t.Missing(baseline); n > 0 {
		fmt.Fprintf(w, "%d pairs of the baseline were not tried\n", n)
	}
	if worse > 0 {
		return fmt.Errorf("%s: %d of %d pairs became worse", command, worse, len(t.Cells))
	}
	fmt.Fprintf(w, "no pair became worse; %d of %d changed\n", len(changes), len(t.Cells))
	return nil
}

// writeTo writes a file or, for "-", to the standard output. Nothing is opened
// before all of it is there.
func writeTo(stdout io.Writer, name string, write func(io.Writer) error) error {
	if name == "-" {
		return write(stdout)
	}
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	return os.WriteFile(name, b.Bytes(), 0o644)
}

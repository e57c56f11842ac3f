package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"shipworm/testnet/matrix"
)

func newTestnetBisectCmd() *cobra.Command {
	var f matrixFlags
	var natA, natB string
	var most int
	var asJSON bool
	var program programBisection
	c := &cobra.Command{
		Use:   "bisect (--nat-a NAT --nat-b NAT | --nat NAT -- PROGRAM [ARGS...])",
		Short: "Find the smallest change of a NAT that makes a failure a success",
		Long: `Find the smallest change of two NATs that lets a pair connect: every single
change of a knob of either (mapping, filtering, port allocation, overlap,
hairpin, lifetime, refresh, reject), then every two at once, and so on. All
solutions with the smallest number of changes are printed.

That happens in virtual time, and the same seed gives the same answer.

With --nat and a program, the program runs in the laboratory, once for each
change, in the network of "shipworm testnet exec": it succeeds if it ends with
exit code 0 within --timeout. More knobs are turned then: TCP, fragments, ICMP
errors, other protocols, limits. Where none helps, it runs once without a NAT.

Exit code 3 means that no change helps.`,
		Example: `  shipworm testnet bisect --nat-a symmetric --nat-b symmetric
  shipworm testnet bisect --nat-a symmetric --nat-b symmetric --method udp --most 2
  shipworm testnet bisect --nat hotel --timeout 5s -- ping -c 1 server`,
		Args: func(c *cobra.Command, args []string) error {
			if program.exec.nat == "" {
				return exactArgs(0)(c, args)
			}
			if len(args) == 0 {
				return usageError(fmt.Errorf("%s: --nat: no program given", commandName(c)))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if most < 1 || most > matrix.MaxChanges {
				return usageError(fmt.Errorf("%s: --most %d: want 1 to %d", commandName(c), most, matrix.MaxChanges))
			}
			if program.exec.nat != "" {
				for _, flag := range []string{"nat-a", "nat-b", "method", "runs"} {
					if c.Flags().Changed(flag) {
						return usageError(fmt.Errorf("%s: --nat runs a program: --%s is for a pair", commandName(c), flag))
					}
				}
				if !c.Flags().Changed("most") {
					most = 1
				}
				program.exec.argv, program.exec.loss, program.exec.seed = args, f.loss, f.seed
				program.most, program.json = most, asJSON
				return program.run(c)
			}
			cfg, err := f.config(c)
			if err != nil {
				return err
			}
			if natA == "" || natB == "" {
				return withHint(usageError(fmt.Errorf("%s: --nat-a and --nat-b are both needed", commandName(c))), "shipworm testnet list shows the NATs")
			}
			defer sayIfSlow("trying every change")()
			b, err := matrix.Bisect(c.Context(), matrix.BisectConfig{Config: cfg, A: natA, B: natB, Most: most})
			if err != nil {
				return matrixError(c.Context(), commandName(c), err)
			}
			if asJSON {
				err = b.WriteJSON(c.OutOrStdout())
			} else {
				err = b.WriteText(c.OutOrStdout())
			}
			if err == nil && len(b.Solutions) == 0 && b.Before.Outcome != matrix.Connected {
				err = negativeError(fmt.Errorf("%s: no change of up to %s makes %s reach %s", commandName(c), knobCount(b.Most), natA, natB))
			}
			return err
		},
	}
	f.add(c)
	c.Flags().StringVar(&natA, "nat-a", "", "the `NAT` of A, which calls")
	c.Flags().StringVar(&natB, "nat-b", "", "the `NAT` of B, which answers")
	c.Flags().IntVar(&most, "most", 3, "turn at most so many knobs at once (with a program: 1)")
	c.Flags().StringVar(&program.exec.nat, "nat", "", "the `NAT` in front of a program")
	c.Flags().StringVar(&program.exec.server, "server", "", "shell `command` to run on the program's server instead of echo and HTTP")
	c.Flags().DurationVar(&program.timeout, "timeout", 10*time.Second, "`time` that the program has")
	c.Flags().BoolVarP(&program.exec.verbose, "verbose", "v", false, "show what the program prints, on standard error")
	c.Flags().SetInterspersed(false)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// programBisection is a bisection with a program.
type programBisection struct {
	exec    execOptions
	most    int
	timeout time.Duration
	json    bool
}

func (p *programBisection) run(c *cobra.Command) error {
	command := commandName(c)
	if err := p.exec.resolve(); err != nil {
		return usageError(fmt.Errorf("%s: %w", command, err))
	}
	if p.timeout <= 0 {
		return usageError(errors.New(command + ": --timeout: want more than nothing"))
	}
	return p.bisect(c.Context(), command, c.OutOrStdout(), c.ErrOrStderr())
}

// print prints the result.
func (p *programBisection) print(w io.Writer, command string, b *matrix.Bisection) error {
	write := b.WriteText
	if p.json {
		write = b.WriteJSON
	}
	err := write(w)
	if err == nil && len(b.Solutions) == 0 && b.Before.Outcome != matrix.Connected {
		err = negativeError(fmt.Errorf("%s: no change of up to %s makes %s succeed", command, knobCount(b.Most), p.exec.argv[0]))
	}
	return err
}

func knobCount(n int) string {
	if n == 1 {
		return "1 knob"
	}
	return fmt.Sprintf("%d knobs", n)
}

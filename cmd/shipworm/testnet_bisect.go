package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"shipworm/testnet/matrix"
)

func newTestnetBisectCmd() *cobra.Command {
	var f matrixFlags
	var natA, natB string
	var most int
	var asJSON bool
	c := &cobra.Command{
		Use:   "bisect --nat-a NAT --nat-b NAT",
		Short: "Find the smallest change of two NATs that lets a pair connect",
		Long: `Find the smallest change of two NATs that lets a pair connect: every single
change of a knob of either (mapping, filtering, port allocation, overlap,
hairpin, lifetime, refresh, reject), then every two at once, and so on. All
solutions with the smallest number of changes are printed.

Everything happens in virtual time, and the same seed gives the same answer.
Exit code 3 means that no change helps.`,
		Example: `  shipworm testnet bisect --nat-a symmetric --nat-b port-restricted
  shipworm testnet bisect --nat-a symmetric --nat-b symmetric --method udp --most 2`,
		Args: exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := f.config(c)
			if err != nil {
				return err
			}
			if natA == "" || natB == "" {
				return withHint(usageError(fmt.Errorf("%s: --nat-a and --nat-b are both needed", commandName(c))), "shipworm testnet list shows the NATs")
			}
			if most < 1 || most > matrix.MaxChanges {
				return usageError(fmt.Errorf("%s: --most %d: want 1 to %d", commandName(c), most, matrix.MaxChanges))
			}
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
				err = negativeError(fmt.Errorf("%s: no change of up to %d knobs makes %s reach %s", commandName(c), b.Most, natA, natB))
			}
			return err
		},
	}
	f.add(c)
	c.Flags().StringVar(&natA, "nat-a", "", "the `NAT` of A, which calls")
	c.Flags().StringVar(&natB, "nat-b", "", "the `NAT` of B, which answers")
	c.Flags().IntVar(&most, "most", 3, "turn at most so many knobs at once")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

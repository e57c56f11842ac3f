package main

import "github.com/spf13/cobra"

// newTestnetCmd is the group of the laboratory.
func newTestnetCmd() *cobra.Command {
	return group("testnet", "Put programs behind simulated routers",
		newTestnetListCmd(), newTestnetRunCmd(), newTestnetExecCmd(), newTestnetUpCmd(), newTestnetMatrixCmd(), newTestnetBisectCmd())
}

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"shipworm/testnet/nat"
	"shipworm/testnet/scenario"
)

// natProfile is one profile as `testnet list --json` prints it, schema 1.
type natProfile struct {
	Name        string `json:"name"`
	Translates  bool   `json:"translates"`
	Mapping     string `json:"mapping,omitempty"`
	Filtering   string `json:"filtering"`
	Allocation  string `json:"allocation,omitempty"`
	Hairpin     string `json:"hairpin,omitempty"`
	BlocksUDP   bool   `json:"blocks_udp"`
	LifetimeSec int64  `json:"udp_lifetime_s"`
	Description string `json:"description"`
}

func newTestnetListCmd() *cobra.Command {
	var asJSON, routers, drops bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the NATs and routers that can be simulated, and why packets are dropped",
		Long: `List the NATs that can be simulated, in the terms of RFC 4787: what a mapping
depends on, what the filter looks at, how an external port is chosen, and after
how long without traffic a UDP mapping is forgotten.

With --igd, list the ways in which their routers open ports: the sound ones
first, then those that are wrong in one thing each. With --drops, list the reasons
for which NATs, firewalls, lines and the network drop packets.`,
		Args: exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case routers && drops:
				return usageError(errors.New("testnet list: --igd and --drops: want one of them"))
			case routers:
				return writeIGDs(c.OutOrStdout(), asJSON)
			case drops:
				return writeDrops(c.OutOrStdout(), asJSON)
			}
			profiles := natProfiles()
			if asJSON {
				return writeProfilesJSON(c.OutOrStdout(), profiles)
			}
			return writeProfiles(c.OutOrStdout(), profiles)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&routers, "igd", false, "list the routers that open ports by NAT-PMP, PCP or UPnP")
	c.Flags().BoolVar(&drops, "drops", false, "list why packets are dropped")
	return c
}

func natProfiles() []natProfile {
	const protocolUDP = 17
	var out []natProfile
	for _, name := range nat.Profiles() {
		cfg, _ := nat.Profile(name)
		p := natProfile{
			Name:        name,
			Translates:  !cfg.NoTranslation,
			Filtering:   cfg.Filtering.String(),
			BlocksUDP:   cfg.Block == protocolUDP,
			Description: nat.Description(name),
		}
		if cfg.NoTranslation && cfg.Filtering == nat.EndpointIndependent {
			p.Filtering = "none"
		}
		if !cfg.NoTranslation {
			p.Mapping = cfg.Mapping.String()
			p.Allocation = cfg.Allocation.String()
			p.Hairpin = cfg.Hairpin.String()
		}
		lifetime := cfg.Lifetime
		if lifetime == 0 {
			lifetime = nat.DefaultLifetime
		}
		if p.Filtering != "none" {
			p.LifetimeSec = int64(lifetime / time.Second)
		}
		out = append(out, p)
	}
	return out
}

func writeProfiles(w io.Writer, profiles []natProfile) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "NAT\tMAPPING\tFILTERING\tPORTS\tHAIRPIN\tUDP LIFETIME\tDESCRIPTION")
	for _, p := range profiles {
		filtering, lifetime := p.Filtering, "-"
		if p.BlocksUDP {
			filtering = "blocks UDP"
		}
		if p.LifetimeSec > 0 {
			lifetime = fmt.Sprintf("%d s", p.LifetimeSec)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			p.Name, orDash(p.Mapping), filtering, orDash(p.Allocation), orDash(p.Hairpin), lifetime, p.Description)
	}
	return tw.Flush()
}

func writeProfilesJSON(w io.Writer, profiles []natProfile) error {
	return printJSON(w, struct {
		Schema   int          `json:"schema"`
		Profiles []natProfile `json:"profiles"`
	}{1, profiles})
}

// writeDrops prints the reasons for drops: one a line, or as JSON of schema 1.
func writeDrops(w io.Writer, asJSON bool) error {
	reasons := scenario.DropReasons()
	if !asJSON {
		_, err := fmt.Fprintln(w, strings.Join(reasons, "\n"))
		return err
	}
	return printJSON(w, struct {
		Schema int      `json:"schema"`
		Drops  []string `json:"drops"`
	}{1, reasons})
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"shipworm/internal/clean"
	"shipworm/upnp"
)

func newUPnPListCmd() *cobra.Command {
	var flags upnpFlags
	c := &cobra.Command{
		Use:   "list",
		Short: "List the router's open ports",
		Long: `List every port that the router has open, for any host, as UPnP tells it. PCP
and NAT-PMP have no such question; their mappings are in the list of a router
that keeps one table for all. An asterisk marks what this host's shipworm made.
Descriptions are those that programs gave: they prove nothing. Of a router that
shows no table what shipworm made is listed as it was written down, with exit
code 3.`,
		Example: "  shipworm upnp list",
		Args:    exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			m, err := flags.mapper()
			if err != nil {
				return err
			}
			entries, err := m.List(c.Context())
			if err != nil && entries == nil {
				return upnpError(c.Context(), err)
			}
			shown := newShownTable(entries)
			if flags.asJSON {
				return errors.Join(printJSON(c.OutOrStdout(), shown), upnpError(c.Context(), err))
			}
			return errors.Join(shown.print(c.OutOrStdout()), upnpError(c.Context(), err))
		},
	}
	flags.add(c)
	return c
}

// shownTable is what `upnp list --json` prints, schema 1.
type shownTable struct {
	Schema  int          `json:"schema"`
	Entries []shownEntry `json:"entries"`
}

type shownEntry struct {
	Protocol    string         `json:"protocol"`
	External    uint16         `json:"external"`
	Internal    netip.AddrPort `json:"internal"`
	Description string         `json:"description"`
	Lease       int            `json:"lease_seconds"` // 0 is for ever
	Enabled     bool           `json:"enabled"`
	Ours        bool           `json:"ours"`
}

func newShownTable(entries []upnp.Entry) *shownTable {
	t := &shownTable{Schema: 1, Entries: []shownEntry{}}
	for _, e := range entries {
		t.Entries = append(t.Entries, shownEntry{
			Protocol: clean.Line(e.Protocol, clean.MaxName), External: e.External, Internal: e.Internal,
			Description: clean.Line(e.Description, clean.MaxName), Lease: int(e.Lease / time.Second), Enabled: e.Enabled, Ours: e.Ours,
		})
	}
	return t
}

func (t *shownTable) print(w io.Writer) error {
	if len(t.Entries) == 0 {
		_, err := fmt.Fprintln(w, "no port is open")
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, " \tPROTOCOL\tEXTERNAL\tINTERNAL\tLEASE\tDESCRIPTION")
	for _, e := range t.Entries {
		mark, lease := " ", (time.Duration(e.Lease) * time.Second).String()
		if e.Ours {
			mark = "*"
		}
		if e.Lease == 0 {
			lease = "for ever"
		}
		if !e.Enabled {
			lease += ", off"
		}
		fmt.Fprintf(tw, "%s\t%s\t%d\t%v\t%s\t%s\n", mark, e.Protocol, e.External, e.Internal, lease, e.Description)
	}
	return tw.Flush()
}

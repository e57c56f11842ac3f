package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newUPnPDeleteCmd() *cobra.Command {
	var (
		flags    upnpFlags
		protocol string
	)
	c := &cobra.Command{
		Use:   "delete PORT",
		Short: "Close a port that shipworm opened on the router",
		Long: `Close the external PORT that "shipworm upnp add" of this host opened, for IPv4
and IPv6, and whatever killed processes left open. What other hosts or programs
opened is left alone. Exit code 3 if there is no such mapping or it is another's.`,
		Example: "  shipworm upnp delete 51820",
		Args:    exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			port, err := parseMapPort(args[0])
			if err != nil {
				return err
			}
			p, err := parseMapProtocol(protocol)
			if err != nil {
				return err
			}
			m, err := flags.mapper()
			if err != nil {
				return err
			}
			if err := m.Delete(c.Context(), p, port); err != nil {
				_, _ = m.Sweep(c.Context())
				return upnpError(c.Context(), err)
			}
			if flags.asJSON {
				err = printJSON(c.OutOrStdout(), struct {
					Schema   int    `json:"schema"`
					Protocol string `json:"protocol"`
					External uint16 `json:"external"`
					Deleted  bool   `json:"deleted"`
				}{1, p.String(), port, true})
			} else {
				_, err = fmt.Fprintf(c.OutOrStdout(), "%v %d is closed\n", p, port)
			}
			if _, left := m.Sweep(c.Context()); left != nil { // after what was asked for
				fmt.Fprintln(c.ErrOrStderr(), "not swept, from before:", upnpError(c.Context(), left))
			}
			return err
		},
	}
	flags.add(c)
	c.Flags().StringVar(&protocol, "protocol", "udp", "udp or tcp")
	return c
}

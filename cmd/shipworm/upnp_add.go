package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"shipworm/upnp"
)

func newUPnPAddCmd() *cobra.Command {
	var (
		flags    upnpFlags
		protocol string
		external uint16
		lease    time.Duration
		keep     bool
		ipv6     bool
	)
	c := &cobra.Command{
		Use:   "add PORT",
		Short: "Open a port on the router",
		Long: `Have the router lead a port of its external address to PORT of this host, by the
first of PCP, NAT-PMP and UPnP that does. The mapping ends with its lease, or
with "shipworm upnp delete"; with --keep it is renewed, healed when the router
restarts, and removed when the command is interrupted. A port that another host
has is never taken: the router then gives another one. Exit code 3 if no
protocol gives any.`,
		Example: `  shipworm upnp add 51820
  shipworm upnp add 8080 --protocol tcp --external 9000 --lease 2h
  shipworm upnp add 51820 --keep --json
  shipworm upnp add 51820 --ipv6`,
		Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			port, err := parseMapPort(args[0])
			if err != nil {
				return err
			}
			r := upnp.Request{External: external, Lifetime: lease, Internal: netip.AddrPortFrom(netip.IPv4Unspecified(), port)}
			if r.Protocol, err = parseMapProtocol(protocol); err != nil {
				return err
			}
			if external != 0 && external < 1024 {
				return usageError(fmt.Errorf("upnp: external port %d is below 1024", external))
			}
			if lease < upnp.MinLease || lease > upnp.MaxLease {
				return usageError(fmt.Errorf("upnp: lease %v is not between %v and %v", lease, upnp.MinLease, upnp.MaxLease))
			}
			if ipv6 {
				r.Internal = netip.AddrPortFrom(netip.IPv6Unspecified(), port)
			}
			m, err := flags.mapper()
			if err != nil {
				return err
			}
			if keep {
				return keepMapping(c, m, r, flags.asJSON)
			}
			got, err := m.Add(c.Context(), r)
			if err != nil {
				return upnpError(c.Context(), err)
			}
			if flags.asJSON {
				return printJSON(c.OutOrStdout(), newShownMapping(got))
			}
			_, err = io.WriteString(c.OutOrStdout(), mappingText(got))
			return err
		},
	}
	flags.add(c)
	c.Flags().StringVar(&protocol, "protocol", "udp", "udp or tcp")
	c.Flags().Uint16Var(&external, "external", 0, "external `port` to ask for (default PORT)")
	c.Flags().DurationVar(&lease, "lease", upnp.DefaultLease, "how long the port stays open without renewal, 2m to 24h")
	c.Flags().BoolVar(&keep, "keep", false, "keep it open until interrupted; a program must have the port")
	c.Flags().BoolVar(&flags.noJournal, "no-journal", false, "write nothing down: what is left after a kill ends with its lease only")
	c.Flags().BoolVar(&ipv6, "ipv6", false, "open a pinhole for this host's IPv6 address instead")
	return watched(c, holdsMappings)
}

// keepMapping prints a line for each change until it is interrupted.
func keepMapping(c *cobra.Command, m *upnp.Mapper, r upnp.Request, asJSON bool) error {
	var bad error
	err := m.Keep(c.Context(), r, func(now upnp.Mapping) {
		if bad == nil {
			bad = writeMapping(c.OutOrStdout(), now, asJSON)
		}
	})
	if err == nil {
		err = bad
	}
	if err == nil {
		err = c.Context().Err()
	}
	return upnpError(c.Context(), err)
}

// writeMapping writes a change in one line: of text, or of JSON.
func writeMapping(w io.Writer, m upnp.Mapping, asJSON bool) error {
	switch {
	case asJSON && m.IsValid():
		return json.NewEncoder(w).Encode(newShownMapping(m))
	case asJSON:
		_, err := fmt.Fprintln(w, `{"schema":1,"lost":true}`)
		return err
	case m.IsValid():
		_, err := io.WriteString(w, mappingText(m))
		return err
	}
	_, err := fmt.Fprintln(w, "lost: the port is not open any more; trying again")
	return err
}

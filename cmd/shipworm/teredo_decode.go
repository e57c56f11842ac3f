package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/spf13/cobra"

	"shipworm/teredo"
	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
)

func newTeredoDecodeCmd() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "decode ADDR",
		Short: "Take a Teredo address apart",
		Long: `Print what a Teredo address says: the server, the flags, and the IPv4 address
and UDP port that the outermost NAT gave the client. Nothing is sent. What looks
wrong about it is said in warnings.`,
		Example: "  shipworm teredo decode 2001:0:cb00:7178:0:efff:3fff:fdfe",
		Args:    exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ip, err := netip.ParseAddr(args[0])
			if err != nil || ip.Zone() != "" {
				return usageError(fmt.Errorf("teredo decode: %q is not an IP address", args[0]))
			}
			a, ok := wire.AddressFromAddr(ip)
			if !ok {
				err := negativeError(fmt.Errorf("teredo decode: %v is not a Teredo address", ip))
				if netip.MustParsePrefix("3ffe:831f::/32").Contains(ip) {
					return withHint(err, "it is one of the experimental prefix that was in use before 2006")
				}
				return withHint(err, "Teredo addresses begin with 2001:0:")
			}
			d := decodeTeredo(a)
			if asJSON {
				return printJSON(c.OutOrStdout(), d)
			}
			return d.print(c.OutOrStdout())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// decodedAddress is what `teredo decode --json` prints, schema 1.
type decodedAddress struct {
	Schema   int            `json:"schema"`
	Address  teredo.Address `json:"address"`
	Server   netip.Addr     `json:"server"`
	Flags    string         `json:"flags"`
	Random   uint16         `json:"random_bits"` // the 12 bits of RFC 5991, put together
	Cone     bool           `json:"cone"`
	Mapped   netip.AddrPort `json:"mapped"`
	Warnings []string       `json:"warnings"`
}

func decodeTeredo(a teredo.Address) decodedAddress {
	f := a.Flags()
	d := decodedAddress{
		Schema: 1, Address: a, Server: a.Server(), Flags: fmt.Sprintf("0x%04x", f),
		Random: f>>2&0xf00 | f&0xff, Cone: a.Cone(), Mapped: a.Mapped(), Warnings: []string{},
	}
	warn := func(when bool, format string, args ...any) {
		if when {
			d.Warnings = append(d.Warnings, fmt.Sprintf(format, args...))
		}
	}
	warn(denied(d.Server), "server %v is not a public IPv4 address", d.Server)
	warn(denied(d.Mapped.Addr()), "mapped address %v is not a public IPv4 address: no peer will send to it", d.Mapped.Addr())
	switch port := d.Mapped.Port(); {
	case port == 0:
		warn(true, "mapped port 0 cannot be sent to")
	case port < 1024:
		warn(true, "mapped port %d belongs to a well-known service: careful peers will not send to it", port)
	}
	warn(d.Server == d.Mapped.Addr(), "server and mapped address are the same host")
	warn(d.Cone, "the cone bit is set: a client of RFC 4380 behind a cone NAT; peers ignore it today (RFC 5991)")
	const reserved, universal, group = 0x4000, 0x0200, 0x0100
	warn(f&reserved != 0, "the reserved flag 0x4000 is set")
	warn(f&(universal|group) != 0, "the universal or group bit is set: 0x%04x", f&(universal|group))
	warn(f&^0x8000 == 0, "no random bits: a client from before RFC 5991, whose address can be guessed")
	return d
}

// denied reports whether no Teredo node sends to ip.
func denied(ip netip.Addr) bool {
	for _, r := range engine.DeniedRanges() {
		if r.Contains(ip) {
			return true
		}
	}
	return false
}

func (d *decodedAddress) print(w io.Writer) error {
	cone := "no"
	if d.Cone {
		cone = "yes"
	}
	var errs []error
	for _, line := range [][2]any{
		{"Address", d.Address},
		{"Server", d.Server},
		{"Flags", fmt.Sprintf("%s (random bits 0x%03x)", d.Flags, d.Random)},
		{"Cone", cone},
		{"External NAT Mapping", d.Mapped},
	} {
		_, err := fmt.Fprintf(w, "%-*s: %v\n", labelWidth, line[0], line[1])
		errs = append(errs, err)
	}
	for _, s := range d.Warnings {
		_, err := fmt.Fprintf(w, "%-*s: %s\n", labelWidth, "Warning", s)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

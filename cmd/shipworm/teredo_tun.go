package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"shipworm/internal/nic"
	"shipworm/teredo/firewall"
	"shipworm/teredo/tun"
)

// tunFlags are those of a client that ends its tunnel in the kernel.
type tunFlags struct {
	name         string
	defaultRoute bool
	open         []string
}

func (f *tunFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.name, "tun", "", "make the interface `name` and give it the address, for all programs of this host")
	c.Flags().BoolVar(&f.defaultRoute, "default-route", false, "with --tun: reach native IPv6 through the tunnel where no other route leads there")
	c.Flags().StringArrayVar(&f.open, "open", nil, "with --tun: let everybody reach `protocol/port`, such as tcp/22; repeatable")
}

// device makes the interface, or returns nil where none is asked for.
func (f *tunFlags) device(cfg tun.Config) (*tun.Device, error) {
	if f.name == "" {
		if f.defaultRoute || len(f.open) > 0 {
			return nil, usageError(errors.New("teredo client: --default-route and --open belong to --tun"))
		}
		return nil, nil
	}
	var ports []firewall.Port
	for _, s := range f.open {
		p, err := parsePort(s)
		if err != nil {
			return nil, usageError(fmt.Errorf("teredo client: --open %q: %w", s, err))
		}
		ports = append(ports, p)
	}
	cfg.Name, cfg.DefaultRoute = f.name, f.defaultRoute
	dev, err := tun.New(cfg)
	switch {
	case errors.Is(err, nic.ErrName), errors.Is(err, nic.ErrExists):
		return nil, usageError(err)
	case errors.Is(err, errors.ErrUnsupported):
		return nil, withHint(err, "without --tun the client works here too, for programs that use it themselves")
	case err != nil:
		return nil, err
	}
	for _, p := range ports {
		dev.Open(p)
	}
	return dev, nil
}

func parsePort(s string) (firewall.Port, error) {
	proto, number, _ := strings.Cut(s, "/")
	n, err := strconv.ParseUint(number, 10, 16)
	p := firewall.Port{Proto: map[string]byte{"tcp": 6, "udp": 17}[proto], Number: uint16(n)}
	if err != nil || p.Proto == 0 || p.Number == 0 {
		return p, errors.New("want tcp/PORT or udp/PORT, 1 to 65535")
	}
	return p, nil
}

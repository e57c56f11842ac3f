package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"shipworm/teredo"
)

func newTeredoServerCmd(system systemFile) *cobra.Command {
	var (
		listen  []string
		port    uint16
		native  bool
		keys    string
		stats   string
		verbose bool
		plain   bool
	)
	c := &cobra.Command{
		Use:   "server --listen IP [--listen IP2]",
		Short: "Run a Teredo server",
		Long: `Run a Teredo server until it is interrupted. It needs a public IPv4 address of
this host, and with a second one it can also help clients to tell what kind of
NAT they are behind. It keeps no state about clients, forwards nothing but the
small packets that open NATs, and needs no privilege.

With --native it also passes on the pings by which clients find the relay of a
native IPv6 host; the host's provider must let packets from 2001::/32 leave.

With --key-file only clients that sign with a key of the table qualify.
` + keyTableHelp + `

Clients know only UDP port 3544. Another --port serves where something
redirects 3544 to it.`,
		Example: "  shipworm teredo server --listen 203.0.113.1 --listen 203.0.113.2",
		Args:    exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := system.forbids(); err != nil {
				return err
			}
			ctx, stop := system.guard(c.Context())
			defer stop()
			cfg, err := teredoServerConfig(listen, port)
			if err != nil {
				return err
			}
			cfg.Native, cfg.Plain, cfg.Logger = native, plain, verboseLog(verbose)
			ready := func() {}
			cfg.OnReady = func() {
				ready()
				fmt.Fprintf(c.ErrOrStderr(), "serving Teredo on %s, UDP port %d\n", strings.Join(listen, " and "), cfg.Port)
			}
			if keys != "" {
				if cfg.Clients, err = readKeys(keys); err != nil {
					return err
				}
			}
			s, err := teredo.NewServer(cfg)
			if err != nil {
				return usageError(oneLine(err))
			}
			page, err := openMetrics(stats)
			if err != nil {
				return err
			}
			defer page.close()
			page.serve(func(m *metrics) { serverMetrics(m, s.State()) })
			// State waits for the goroutine that serves.
			tell, quiet := startNotify(func() string { s.State(); return "serving" })
			defer quiet()
			ready = tell
			return teredoServerError(ctx, s.Run(ctx))
		},
	}
	c.Flags().StringArrayVar(&listen, "listen", nil, "public IPv4 `address` of this host; twice for two")
	c.Flags().Uint16Var(&port, "port", teredo.Port, "UDP `port`")
	c.Flags().StringVar(&keys, "key-file", "", "let only the clients of a key table qualify: `file`")
	c.Flags().BoolVar(&native, "native", false, "pass clients' tests of native IPv6 hosts on, by the routes of this host (Linux; root or CAP_NET_RAW)")
	c.Flags().BoolVar(&plain, "plain", false, "send no packets in runs, for kernels and network cards that do so wrong")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "log to stderr")
	addMetrics(c, &stats)
	addConfig(c, "server", nil)
	return watched(c)
}

func teredoServerConfig(listen []string, port uint16) (teredo.ServerConfig, error) {
	cfg := teredo.ServerConfig{Port: port}
	switch {
	case len(listen) == 0:
		return cfg, withHint(usageError(errors.New("teredo server: no --listen address")), "give it a public IPv4 address of this host")
	case len(listen) > 2:
		return cfg, usageError(fmt.Errorf("teredo server: %d --listen addresses, at most 2", len(listen)))
	case port == 0:
		return cfg, usageError(errors.New("teredo server: --port 0: want 1 to 65535"))
	}
	for i, s := range listen {
		a, err := netip.ParseAddr(s)
		if err != nil || !a.Is4() {
			return cfg, usageError(fmt.Errorf("teredo server: --listen %q: not an IPv4 address", s))
		}
		*[]*netip.Addr{&cfg.Primary, &cfg.Secondary}[i] = a
	}
	return cfg, nil
}

func teredoServerError(ctx context.Context, err error) error {
	err = oneLine(err)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return withHint(err, "--listen takes addresses that this host itself has; behind a 1:1 NAT give the host the public address as well")
	case errors.Is(err, syscall.EADDRINUSE):
		return withHint(err, "another Teredo server may be running here")
	case errors.Is(err, os.ErrPermission):
		return &exitError{exitPermission, "--native takes root or CAP_NET_RAW, a --port below 1024 root or CAP_NET_BIND_SERVICE", err}
	}
	return err
}

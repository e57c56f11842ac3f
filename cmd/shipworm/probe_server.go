package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"shipworm/natprobe/server"
)

// probeServerFlags are those of shipworm probe server.
type probeServerFlags struct {
	listen, public  []string
	port, otherPort uint16
	peer, keyFile   string
	verbose         bool
}

func newProbeServerCmd() *cobra.Command {
	var f probeServerFlags
	c := &cobra.Command{
		Use:   "server --listen IP [--listen IP2 | --peer HOST --key-file FILE]",
		Short: "Run a STUN server that probes can ask",
		Long: `Run a STUN server (RFC 8489) for behaviour discovery (RFC 5780 and RFC 3489) until
it is interrupted. To tell how a NAT filters it needs two public addresses. Two
hosts of one address each do too: give each the other one as --peer, both the
same secret in a --key-file that only its owner can read, and clocks that agree
within 30 seconds. They ask one another to answer, over UDP port 3480.

IPv4 and IPv6 may be served at once, with one or two addresses each.

It keeps no state about clients but rate limits, sends nothing to anybody who
did not ask, and needs no privilege.`,
		Example: `  shipworm probe server --listen 203.0.113.1 --listen 203.0.113.2
  shipworm probe server --listen 203.0.113.1 --listen 203.0.113.2 --listen 2001:db8::1 --listen 2001:db8::2
  shipworm probe server --listen 203.0.113.1 --peer 198.51.100.1 --key-file peer.key`,
		Args: exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := f.configs(c.Context(), c.ErrOrStderr())
			if err != nil {
				return err
			}
			return serveProbes(c.Context(), list, c.ErrOrStderr())
		},
	}
	c.Flags().StringArrayVar(&f.listen, "listen", nil, "`address` of this host; up to two of IPv4 and two of IPv6")
	c.Flags().StringArrayVar(&f.public, "public", nil, "the same `address` as clients see it, behind a 1:1 NAT; once for each --listen")
	c.Flags().Uint16Var(&f.port, "port", server.DefaultPort, "UDP `port`")
	c.Flags().Uint16Var(&f.otherPort, "other-port", server.DefaultOtherPort, "the other UDP `port`")
	c.Flags().StringVar(&f.peer, "peer", "", "`host` that lends its address as the second one, HOST or HOST:PORT")
	c.Flags().StringVar(&f.keyFile, "key-file", "", "`file` with the secret that both hosts share, 16 characters or more")
	c.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "log to stderr")
	return watched(c)
}

// configs returns one configuration for each address family.
func (f *probeServerFlags) configs(ctx context.Context, status io.Writer) ([]server.Config, error) {
	switch {
	case len(f.listen) == 0:
		return nil, withHint(usageError(errors.New("probe server: no --listen address")), "give it one or two public addresses of this host")
	case f.port == 0 || f.otherPort == 0:
		return nil, usageError(errors.New("probe server: port 0: want 1 to 65535"))
	case (f.peer == "") != (f.keyFile == ""):
		return nil, usageError(errors.New("probe server: --peer and --key-file need each other"))
	}
	var four, six server.Config
	for flag, list := range map[string][]string{"--listen": f.listen, "--public": f.public} {
		for _, s := range list {
			a, err := netip.ParseAddr(s)
			if err != nil {
				return nil, usageError(fmt.Errorf("probe server: %s %q: not an IP address", flag, s))
			}
			cfg := &six
			if a.Is4() {
				cfg = &four
			}
			if flag == "--listen" {
				cfg.Listen = append(cfg.Listen, a)
			} else {
				cfg.Public = append(cfg.Public, a)
			}
		}
	}
	if f.peer != "" && len(four.Listen) > 0 && len(six.Listen) > 0 {
		return nil, usageError(errors.New("probe server: a --peer lends an address of one family: run one server for each"))
	}
	var list []server.Config
	for _, cfg := range []server.Config{four, six} {
		if len(cfg.Listen) == 0 && len(cfg.Public) == 0 {
			continue
		}
		if err := f.complete(ctx, &cfg, status); err != nil {
			return nil, err
		}
		list = append(list, cfg)
	}
	return list, nil
}

// complete fills in what is not an address of this host.
func (f *probeServerFlags) complete(ctx context.Context, cfg *server.Config, status io.Writer) error {
	cfg.Port, cfg.OtherPort, cfg.Logger = f.port, f.otherPort, verboseLog(f.verbose)
	if f.peer != "" && len(cfg.Listen) > 0 {
		peer, err := f.peerConfig(ctx, cfg.Listen[0].Is4())
		if err != nil {
			return err
		}
		cfg.Peer = &peer
	}
	var addrs []string
	for _, a := range cfg.Listen {
		addrs = append(addrs, a.String())
	}
	cfg.OnReady = func() {
		abilities := "tells external endpoints only"
		if len(addrs) == 2 {
			abilities = "tells mapping and filtering"
		} else if f.peer != "" {
			abilities += " until the peer answers"
		}
		fmt.Fprintf(status, "serving STUN on %s, UDP ports %d and %d: %s\n", strings.Join(addrs, " and "), f.port, f.otherPort, abilities)
	}
	cfg.OnPeer = func(alive bool) {
		if alive {
			fmt.Fprintf(status, "peer %s answers: tells mapping and filtering\n", f.peer)
		} else {
			fmt.Fprintf(status, "peer %s is silent: tells external endpoints only\n", f.peer)
		}
	}
	return nil
}

// serveProbes runs one server for each configuration until ctx ends or one of
// them fails.
func serveProbes(ctx context.Context, list []server.Config, status io.Writer) error {
	servers := make([]*server.Server, len(list))
	for i, cfg := range list {
		var err error
		if servers[i], err = server.New(cfg); err != nil {
			return usageError(oneLine(err))
		}
	}
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var all sync.WaitGroup
	for _, s := range servers {
		all.Go(func() { stop(s.Run(running)) })
	}
	all.Wait()
	if ctx.Err() != nil {
		var n server.Counters
		for _, s := range servers {
			c := s.Counters()
			n.Answered, n.Refused, n.Forwarded, n.Lent = n.Answered+c.Answered, n.Refused+c.Refused, n.Forwarded+c.Forwarded, n.Lent+c.Lent
			n.Limited, n.Ignored, n.Forged = n.Limited+c.Limited, n.Ignored+c.Ignored, n.Forged+c.Forged
		}
		fmt.Fprintf(status, "answered %d, refused %d, forwarded %d, answered for the peer %d, over the limits %d, ignored %d, forged %d\n",
			n.Answered, n.Refused, n.Forwarded, n.Lent, n.Limited, n.Ignored, n.Forged)
	}
	return probeServerError(ctx, context.Cause(running))
}

func (f *probeServerFlags) peerConfig(ctx context.Context, v4 bool) (server.Peer, error) {
	var p server.Peer
	host, port := f.peer, uint16(server.DefaultPeerPort)
	if h, s, err := net.SplitHostPort(f.peer); err == nil {
		n, err := net.DefaultResolver.LookupPort(ctx, "udp", s)
		if err != nil || n < 1 || n > 65535 {
			return p, usageError(fmt.Errorf("probe server: --peer %q: no port: %q", f.peer, s))
		}
		host, port = h, uint16(n)
	}
	network := map[bool]string{true: "ip4", false: "ip6"}[v4]
	found, err := net.DefaultResolver.LookupNetIP(ctx, network, host)
	if err != nil {
		return p, fmt.Errorf("probe server: --peer: %w", err)
	}
	key, err := readKey(f.keyFile)
	if err != nil {
		return p, err
	}
	addr := found[0].Unmap()
	return server.Peer{Public: addr, Addr: netip.AddrPortFrom(addr, port), Port: port, Key: key}, nil
}

// readKey reads the first line of a file that nobody else may read (C-01).
func readKey(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("probe server: --key-file: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("probe server: --key-file: %w", err)
	}
	if runtime.GOOS != "windows" && st.Mode().IsRegular() && st.Mode().Perm()&0o077 != 0 {
		return nil, &exitError{exitPermission, "chmod 600 " + name, fmt.Errorf("%s: others may read the key", name)}
	}
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return nil, fmt.Errorf("probe server: --key-file: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return []byte(strings.TrimSpace(line)), nil
}

func probeServerError(ctx context.Context, err error) error {
	err = oneLine(err)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return withHint(err, "--listen takes addresses that this host itself has; behind a 1:1 NAT name the public one with --public")
	case errors.Is(err, syscall.EADDRINUSE):
		return withHint(err, "another STUN server may be running here; --port and --other-port take others")
	}
	return err
}

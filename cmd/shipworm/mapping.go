package main

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"shipworm/upnp"
)

// raLease is the lease of a port of Remote Assistance.
const raLease = 10 * time.Minute

// mapFlags say on what kind of network this host is, and whether its router is
// asked to open a port. Nobody can tell a home from a café by its packets: that
// it is a home is the default, because whoever starts a client or invites a
// helper wants to be reached.
type mapFlags struct {
	network string
	off     bool
}

func (f *mapFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.network, "network", "private", "the `kind` of network: private, domain, or public, where the router is asked for nothing")
	c.Flags().BoolVar(&f.off, "no-upnp", false, "do not ask the router to open a port, by UPnP, PCP or NAT-PMP")
}

// kind is the network as the flag names it.
func (f *mapFlags) kind() (upnp.Network, error) {
	n, err := upnp.ParseNetwork(f.network)
	if err != nil {
		return n, usageError(err)
	}
	return n, nil
}

// mapper returns what opens ports, or nil where nothing may. Its journal is in
// the directory that journal names, if there can be one: a client must not fail
// because a disk is full. Without journal there is none.
func (f *mapFlags) mapper(log *slog.Logger, journal func() (string, error)) (*upnp.Mapper, error) {
	n, err := f.kind()
	if err != nil || f.off || n == upnp.Public {
		return nil, err
	}
	cfg := upnp.Config{Network: n, Logger: log}
	if journal == nil {
		return upnp.New(cfg)
	}
	cfg.Journal, err = journal()
	if err == nil {
		var m *upnp.Mapper
		if m, err = upnp.New(cfg); err == nil {
			return m, nil
		}
	}
	if log != nil && !errors.Is(err, errors.ErrUnsupported) {
		log.Warn("port mappings without a journal", "err", err)
	}
	cfg.Journal = ""
	return upnp.New(cfg)
}

// errTeredoOff: Teredo is off on the networks of an office.
var errTeredoOff = negativeError(errors.New("teredo: off on a domain network"))

// teredoMap is a teredo.ClientConfig.Map by a Mapper. The port is kept on
// whatever address the host has toward its router, one Keep after the other.
func teredoMap(m *upnp.Mapper, lease time.Duration) func(context.Context, netip.AddrPort, func(netip.AddrPort)) error {
	if m == nil {
		return nil
	}
	turn := make(chan struct{}, 1)
	return func(ctx context.Context, local netip.AddrPort, changed func(netip.AddrPort)) error {
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-ctx.Done():
			return nil
		}
		return m.Keep(ctx, upnp.Request{
			Protocol: upnp.UDP, Internal: netip.AddrPortFrom(netip.IPv4Unspecified(), local.Port()), Lifetime: lease,
		}, func(now upnp.Mapping) {
			if !now.External.Addr().IsValid() {
				now.External = netip.AddrPort{} // of no use without the address
			}
			changed(now.External)
		})
	}
}

// sweepMappings deletes from the router what the journal in a directory has of
// processes that died.
func sweepMappings(ctx context.Context, dir string) error {
	m, err := upnp.New(upnp.Config{Journal: dir})
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return nil // nothing was written down either
	case err != nil:
		return err
	}
	_, err = m.Sweep(ctx)
	return err
}

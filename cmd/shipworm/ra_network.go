package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"

	"shipworm/ra"
	"shipworm/ra/invite"
	"shipworm/teredo"
	"shipworm/upnp"
)

// kernelNetwork dials over the kernel's own UDP; without an address, from
// whatever one the kernel picks.
type kernelNetwork struct{ addr netip.Addr }

func (kernelNetwork) Kind() string { return invite.IPv6 }

func (n kernelNetwork) ListenPacket(ctx context.Context) (net.PacketConn, error) {
	if !n.addr.IsValid() {
		return new(net.ListenConfig).ListenPacket(ctx, "udp", ":0")
	}
	return listenAt(ctx, netip.AddrPortFrom(n.addr, 0))
}

// parseDirect reads the address of --direct, with or without brackets.
func parseDirect(s string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		return addr, usageError(fmt.Errorf("--direct: %q is no IP address", s))
	}
	return addr, nil
}

// teredoNetwork is a Teredo client that runs beside the session.
type teredoNetwork struct {
	client *teredo.Client
	told   func(netip.Addr) // is called with the Teredo address, once
	once   sync.Once
	stop   func()
	ended  chan struct{} // closed once the client is gone
	cause  error         // why it is; from then on
}

// teredoNamed says whether a server is named. A configuration that cannot be
// read is a matter of whoever starts a client.
func teredoNamed(f teredoFlags) bool {
	server, err := f.named()
	return server.Primary != "" || err != nil
}

// startTeredo starts a client without waiting: it qualifies while a person
// still types. ports, unless nil, opens a port of the router for it.
func startTeredo(f teredoFlags, ports *upnp.Mapper, log *slog.Logger) (*teredoNetwork, error) {
	cfg, err := f.config()
	if err != nil {
		return nil, err
	}
	cfg.Logger, cfg.Map = log, teredoMap(ports, raLease)
	c, err := teredo.NewClient(cfg)
	if err != nil {
		return nil, usageError(err)
	}
	return runTeredo(c, f.system, log), nil
}

func runTeredo(c *teredo.Client, system systemFile, log *slog.Logger) *teredoNetwork {
	ctx, cancel := system.guard(context.Background())
	n := &teredoNetwork{client: c, stop: cancel, ended: make(chan struct{}), told: func(netip.Addr) {}}
	go func() {
		defer close(n.ended)
		switch n.cause = c.Run(ctx); {
		case errors.Is(n.cause, errTeredoDisabled):
			log.Error("no Teredo any more", "err", n.cause)
		case n.cause != nil && ctx.Err() == nil:
			log.Warn("teredo", "err", n.cause)
		}
	}()
	return n
}

// qualified waits for the Teredo address.
func (n *teredoNetwork) qualified(ctx context.Context) error {
	addr, err := n.client.WaitQualified(ctx)
	if errors.Is(err, net.ErrClosed) && isDone(n.client) {
		<-n.ended
		return n.cause // why the client is gone, in place of the fact
	}
	if err != nil {
		return err
	}
	n.once.Do(func() { n.told(addr.Addr()) })
	return nil
}

// close stops the client and waits until all of it is gone.
func (n *teredoNetwork) close() {
	n.stop()
	<-n.ended
}

func (n *teredoNetwork) Kind() string { return invite.Teredo }

// ListenPacket waits for the Teredo address.
func (n *teredoNetwork) ListenPacket(ctx context.Context) (net.PacketConn, error) {
	if err := n.qualified(ctx); err != nil {
		return nil, err
	}
	return n.client.ListenPacket(ctx, 0)
}

var (
	_ ra.Network = kernelNetwork{}
	_ ra.Network = (*teredoNetwork)(nil)
)

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"

	"shipworm/ra"
	"shipworm/teredo"
)

// kernelNetwork is the kernel's own UDP, without Teredo.
type kernelNetwork struct{ addr netip.Addr }

// parseDirect reads the address of --direct, with or without brackets.
func parseDirect(s string) (kernelNetwork, error) {
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		return kernelNetwork{}, usageError(fmt.Errorf("--direct: %q is no IP address", s))
	}
	return kernelNetwork{addr}, nil
}

// Kind is "lan" for addresses that end at the next router.
func (n kernelNetwork) Kind() string {
	if n.addr.Is4() || n.addr.IsPrivate() || n.addr.IsLinkLocalUnicast() {
		return "lan"
	}
	return "ipv6"
}

func (n kernelNetwork) Addr() netip.Addr { return n.addr }

func (n kernelNetwork) ListenPacket(ctx context.Context, port uint16) (net.PacketConn, error) {
	var lc net.ListenConfig
	return lc.ListenPacket(ctx, "udp", netip.AddrPortFrom(n.addr, port).String())
}

// anyNetwork dials from whatever address the kernel picks.
type anyNetwork struct{}

func (anyNetwork) Kind() string     { return "ipv6" }
func (anyNetwork) Addr() netip.Addr { return netip.IPv6Unspecified() }

func (anyNetwork) ListenPacket(ctx context.Context, port uint16) (net.PacketConn, error) {
	var lc net.ListenConfig
	return lc.ListenPacket(ctx, "udp", fmt.Sprintf(":%d", port))
}

// teredoNetwork is a Teredo client that runs beside the session.
type teredoNetwork struct {
	client *teredo.Client
	addr   netip.Addr
	stop   func()
	ended  chan struct{} // closed once the client is gone
	cause  error         // why it is; from then on
}

// teredoNamed says whether a flag or the environment names a server.
func teredoNamed(flag string) bool {
	primary, _ := (&teredoFlags{server: flag}).named()
	return primary != ""
}

// startTeredo starts a client without waiting: it qualifies while a person
// still types.
func startTeredo(f teredoFlags, log *slog.Logger) (*teredoNetwork, error) {
	cfg, err := f.config()
	if err != nil {
		return nil, err
	}
	cfg.Logger = log
	c, err := teredo.NewClient(cfg)
	if err != nil {
		return nil, usageError(err)
	}
	return runTeredo(c, log), nil
}

func runTeredo(c *teredo.Client, log *slog.Logger) *teredoNetwork {
	ctx, cancel := context.WithCancel(context.Background())
	n := &teredoNetwork{client: c, stop: cancel, ended: make(chan struct{})}
	go func() {
		defer close(n.ended)
		if n.cause = c.Run(ctx); n.cause != nil && ctx.Err() == nil {
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
	n.addr = addr.Addr()
	return nil
}

// close stops the client and waits until all of it is gone.
func (n *teredoNetwork) close() {
	n.stop()
	<-n.ended
}

func (n *teredoNetwork) Kind() string     { return "teredo" }
func (n *teredoNetwork) Addr() netip.Addr { return n.addr }

func (n *teredoNetwork) ListenPacket(ctx context.Context, port uint16) (net.PacketConn, error) {
	return n.client.ListenPacket(ctx, port)
}

var (
	_ ra.Network = kernelNetwork{}
	_ ra.Network = anyNetwork{}
	_ ra.Network = (*teredoNetwork)(nil)
)

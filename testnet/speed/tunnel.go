//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"shipworm/teredo"
	"shipworm/teredo/firewall"
	"shipworm/teredo/tun"
)

// qualifyWithin bounds the wait for a Teredo address.
const qualifyWithin = 10 * time.Second

// tunRole is our client with a TUN device of the given name, as `shipworm
// teredo client --tun` starts it; one of them is a plain one.
func tunRole(ctx context.Context, args []string) (string, map[string]func(order) (answer, error), error) {
	dev, err := tun.New(tun.Config{Name: args[0], Plain: args[0] == plainTUN})
	if err != nil {
		return "", nil, err
	}
	for _, proto := range []byte{syscall.IPPROTO_TCP, syscall.IPPROTO_UDP} {
		dev.Open(firewall.Port{Proto: proto, Number: loadPort})
	}
	_, address, err := startClient(ctx, teredo.ClientConfig{Device: dev})
	return address, nil, err
}

// A stackHost is our client's userspace stack as a host for load.
type stackHost struct{ *teredo.Client }

func (h stackHost) dial(ctx context.Context, network, _ string, to netip.AddrPort) (net.Conn, error) {
	return h.DialContext(ctx, network, to.String())
}

// stackRole is our client with its userspace stack, and the load on it.
func stackRole(ctx context.Context, _ []string) (string, map[string]func(order) (answer, error), error) {
	c, address, err := startClient(ctx, teredo.ClientConfig{})
	if err != nil {
		return "", nil, err
	}
	l, err := newLoader(ctx, stackHost{c})
	if err != nil {
		return "", nil, err
	}
	return address, l.orders(ctx), nil
}

// relayRole is our public relay, as `shipworm teredo relay --prefix` starts it.
func relayRole(ctx context.Context, _ []string) (string, map[string]func(order) (answer, error), error) {
	ready := make(chan struct{})
	r, err := teredo.NewRelay(teredo.RelayConfig{
		Open:     func() (teredo.Device, error) { return tun.NewRouter(oursTUN, false) },
		Prefixes: []netip.Prefix{netip.MustParsePrefix(nodePrefix)},
		Servers:  []netip.Addr{netip.MustParseAddr(server)},
		Local:    netip.AddrPortFrom(netip.MustParseAddr(addrR), 3545),
		OnReady:  func(teredo.RelayState) { close(ready) },
	})
	if err != nil {
		return "", nil, err
	}
	return started(ctx, addrR, ready, r.Run)
}

func startClient(ctx context.Context, cfg teredo.ClientConfig) (*teredo.Client, string, error) {
	cfg.Server, cfg.Secondary, cfg.Force = server, server2, true
	c, err := teredo.NewClient(cfg)
	if err != nil {
		return nil, "", err
	}
	ran := make(chan error, 1)
	go func() { ran <- c.Run(ctx) }()
	wait, cancel := context.WithTimeout(ctx, qualifyWithin)
	defer cancel()
	address, err := c.WaitQualified(wait)
	if err != nil {
		select {
		case err = <-ran:
		default:
		}
		return nil, "", fmt.Errorf("qualify: %w", err)
	}
	return c, address.String(), nil
}

// serverRole is our server, as `shipworm teredo server --native` starts it.
func serverRole(ctx context.Context, _ []string) (string, map[string]func(order) (answer, error), error) {
	ready := make(chan struct{})
	s, err := teredo.NewServer(teredo.ServerConfig{
		Primary: netip.MustParseAddr(server), Secondary: netip.MustParseAddr(server2), Native: true,
		OnReady: func() { close(ready) },
	})
	if err != nil {
		return "", nil, err
	}
	return started(ctx, server, ready, s.Run)
}

// started waits until what runs says that it is ready.
func started(ctx context.Context, address string, ready chan struct{}, run func(context.Context) error) (string, map[string]func(order) (answer, error), error) {
	ran := make(chan error, 1)
	go func() { ran <- run(ctx) }()
	select {
	case <-ready:
		return address, nil, nil
	case err := <-ran:
		return "", nil, err
	case <-time.After(qualifyWithin):
		return "", nil, fmt.Errorf("not ready within %v", qualifyWithin)
	}
}

//go:build linux

package main

import (
	"context"
	"fmt"
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
// teredo client --tun` starts it.
func tunRole(ctx context.Context, args []string) (string, map[string]func(order) (answer, error), error) {
	dev, err := tun.New(tun.Config{Name: args[0]})
	if err != nil {
		return "", nil, err
	}
	for _, proto := range []byte{syscall.IPPROTO_TCP, syscall.IPPROTO_UDP} {
		dev.Open(firewall.Port{Proto: proto, Number: loadPort})
	}
	_, address, err := startClient(ctx, teredo.ClientConfig{Device: dev})
	return address, nil, err
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
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	select {
	case <-ready:
		return server, nil, nil
	case err := <-ran:
		return "", nil, err
	}
}

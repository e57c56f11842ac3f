package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"shipworm/testnet/igd"
	"shipworm/testnet/igd/install"
	"shipworm/testnet/lab"
)

// startIGD has a router speak the mapping protocols of a profile; that without
// a name is none. stop ends it. verbose tells on standard error what the router
// is asked.
func startIGD(ctx context.Context, r *lab.Router, gateway netip.Addr, name string, p igd.Profile, verbose bool) (stop func(), err error) {
	if p.Name == "" {
		return func() {}, nil
	}
	var trace func(igd.Request)
	if verbose {
		trace = func(q igd.Request) { fmt.Fprintf(os.Stderr, "%s: asked by %v\n", name, q) }
	}
	d, err := install.Lab(r, gateway, name, p, trace)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { _ = d.Server.Run(ctx) })
	return func() { cancel(); running.Wait() }, nil
}

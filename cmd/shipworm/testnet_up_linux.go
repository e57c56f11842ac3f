package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"

	"shipworm/testnet/lab"
	"shipworm/testnet/link"
	"shipworm/testnet/trace"
)

func runTestnetUp(ctx context.Context, o *upOptions) error {
	if _, err := exec.LookPath(o.argv[0]); err != nil {
		return startError("testnet up", err)
	}
	rec, err := newTrace("testnet up", o.trace)
	if err != nil {
		return err
	}
	inside, code, err := lab.Enter()
	if err != nil {
		return laboratoryError("testnet up", err)
	}
	if inside {
		code, err = o.run(ctx, rec)
		code, err = saveTrace("testnet up", rec, o.trace, code, err)
	}
	if err != nil {
		return err
	}
	if code != 0 {
		return &exitError{code: code} // the shell has said why
	}
	return nil
}

// run is the part inside the laboratory's namespaces.
func (o *upOptions) run(ctx context.Context, rec *trace.Recorder) (code int, err error) {
	l, err := lab.New(lab.Config{Seed: o.seed})
	if err != nil {
		return 0, laboratoryError("testnet up", err)
	}
	defer func() {
		if ctx.Err() == nil { // otherwise what is left ends with this process
			err = closeLab("testnet up", l, err)
		}
	}()
	if err := listen(l, rec, o.verbose); err != nil {
		return 0, laboratoryError("testnet up", err)
	}
	hosts, stop, err := o.build(ctx, l)
	defer stop()
	if err != nil {
		return 0, laboratoryError("testnet up", err)
	}
	// Standard output belongs to the program.
	if err := o.writeMap(os.Stderr, "shipworm testnet up", lab.ID()); err != nil {
		return 0, err
	}
	return runProgram(ctx, "testnet up", hosts[o.in], o.argv)
}

// build puts everything up, and returns the hosts by name. stop ends what the
// routers do beside translating.
func (o *upOptions) build(ctx context.Context, l *lab.Lab) (_ map[string]*lab.Host, stop func(), _ error) {
	var stops []func()
	stop = func() {
		for _, f := range stops {
			f()
		}
	}
	server, err := l.Host("server", link.Config{}, o.ipv6.server()...)
	if err != nil {
		return nil, stop, err
	}
	hosts := map[string]*lab.Host{"server": server}
	for i, home := range o.homes {
		router, err := l.Router(home.name, home.nat, o.line)
		if err != nil {
			return nil, stop, err
		}
		if o.ipv6.on {
			if err := router.Delegate(o.ipv6.prefix(i), o.ipv6.firewall); err != nil {
				return nil, stop, err
			}
		}
		for _, h := range home.hosts {
			if hosts[h.name], err = router.Host(h.name, link.Config{}, h.addr, h.addr6...); err != nil {
				return nil, stop, err
			}
		}
		f, err := startIGD(ctx, router, home.hosts[0].addr.Prev(), home.name+"-router", o.router, o.verbose)
		if err != nil {
			return nil, stop, err
		}
		stops = append(stops, f)
	}
	return hosts, stop, server.Reflect()
}

// joinTestnet turns this process into the program on the other host.
func joinTestnet(o *upOptions) error {
	err := lab.Join(o.joinID, o.joinHost, o.argv[0], o.argv[1:]...)
	err = fmt.Errorf("testnet up: %w", err)
	var unknown *lab.HostError
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return withHint(err, "install util-linux")
	case errors.Is(err, fs.ErrPermission):
		return &exitError{code: exitPermission, err: err, hint: "only root and the user who called testnet up can join"}
	case errors.As(err, &unknown):
		return usageError(err)
	}
	return withHint(err, "the number is on the last line of the map that testnet up prints")
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/term"

	"shipworm/testnet/lab"
	"shipworm/testnet/link"
	"shipworm/testnet/sim"
	"shipworm/testnet/trace"
)

// Exit codes of programs that could not be started, as shells have them.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

// How an interrupted program is ended, counted from the interrupt. The whole
// must stay below two seconds.
const (
	execTermAfter = 600 * time.Millisecond
	execKillAfter = 1200 * time.Millisecond
)

// serverStart is how long the program waits for a --server to open a port.
const serverStart = 10 * time.Second

func runTestnetExec(ctx context.Context, o *execOptions) error {
	if _, err := exec.LookPath(o.argv[0]); err != nil {
		return startError("testnet exec", err)
	}
	rec, err := newTrace("testnet exec", o.trace)
	if err != nil {
		return err
	}
	inside, code, err := lab.Enter()
	if err != nil {
		return laboratoryError("testnet exec", err)
	}
	if inside {
		code, err = o.run(ctx, rec)
		code, err = saveTrace("testnet exec", rec, o.trace, code, err)
	}
	if err != nil {
		return err
	}
	if code != 0 {
		// The program has said what it had to say: nothing may be added.
		return &exitError{code: code}
	}
	return nil
}

// run is the part inside the laboratory's namespaces.
func (o *execOptions) run(ctx context.Context, rec *trace.Recorder) (code int, err error) {
	l, err := lab.New(lab.Config{Seed: o.seed})
	if err != nil {
		return 0, laboratoryError("testnet exec", err)
	}
	defer func() {
		// After an interrupt there is no time to be polite: what is left ends
		// with this process.
		if ctx.Err() == nil {
			err = closeLab("testnet exec", l, err)
		}
	}()
	if err := listen(l, rec, o.verbose); err != nil {
		return 0, laboratoryError("testnet exec", err)
	}
	server, home, host, err := o.network(l)
	if err != nil {
		return 0, laboratoryError("testnet exec", err)
	}
	stop, err := startIGD(ctx, home, execGateway, "router", o.router, o.verbose)
	if err != nil {
		return 0, laboratoryError("testnet exec", err)
	}
	defer stop()
	if err := o.serve(ctx, server); err != nil {
		return 0, err
	}
	return runProgram(ctx, "testnet exec", host, o.argv)
}

// closeLab takes the laboratory down and returns err, or else what its network
// did wrong.
func closeLab(command string, l *lab.Lab, err error) error {
	if broken := l.Close(); err == nil && broken != nil {
		return laboratoryError(command, broken)
	}
	return err
}

// network builds the server, and the program's host behind the NAT.
func (o *execOptions) network(l *lab.Lab) (server *lab.Host, home *lab.Router, host *lab.Host, err error) {
	if server, err = l.Host("server", link.Config{}, o.ipv6.server()...); err != nil {
		return nil, nil, nil, err
	}
	address, outside := execInside, []netip.Addr{execOutside}
	if o.natConfig.NoTranslation {
		address, outside = execOutside, nil
	}
	if o.router.Name != "" {
		outside = []netip.Addr{execOutsideIGD}
	}
	o.natConfig.External = outside
	if home, err = l.Router("nat", o.natConfig, o.line); err != nil {
		return nil, nil, nil, err
	}
	if o.ipv6.on {
		if err := home.Delegate(o.ipv6.prefix(0), o.ipv6.firewall); err != nil {
			return nil, nil, nil, err
		}
	}
	host, err = home.Host("home", link.Config{}, address, o.ipv6.host(0, 0)...)
	return server, home, host, err
}

// serve starts what the program finds on the server, and returns when it can
// be reached.
func (o *execOptions) serve(ctx context.Context, server *lab.Host) error {
	if o.server == "" {
		return server.Reflect()
	}
	cmd := server.Command(ctx, "sh", "-c", o.server)
	// Standard output belongs to the program alone.
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		return startError("testnet exec", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	deadline := time.After(serverStart)
	for {
		for _, network := range []string{"tcp", "udp"} {
			if ok, err := server.Ready(network, 0); ok || err != nil {
				return err
			}
		}
		select {
		case err := <-ended:
			if err == nil {
				return nil // it may have become a daemon
			}
			return fmt.Errorf("testnet exec: server: %w", err)
		case <-deadline:
			return nil // not every server has a port: a packet capture has none
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// runProgram runs the program with this process's streams and terminal, and
// returns its exit code.
func runProgram(ctx context.Context, command string, host *lab.Host, argv []string) (int, error) {
	cmd := host.Command(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// In a group of its own it could not read from the terminal.
	cmd.SysProcAttr.Setpgid = false
	onTerminal := term.IsTerminal(int(os.Stdin.Fd()))
	cmd.Cancel = func() error {
		time.AfterFunc(execTermAfter, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
		if onTerminal {
			return nil // the terminal has sent it a SIGINT already
		}
		return cmd.Process.Signal(os.Interrupt)
	}
	cmd.WaitDelay = execKillAfter
	if err := cmd.Start(); ctx.Err() != nil {
		return 0, ctx.Err()
	} else if err != nil {
		return 0, startError(command, err)
	}
	err := cmd.Wait()
	state, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case ok && state.Signaled():
		return 128 + int(state.Signal()), nil
	case ok && state.Exited():
		return state.ExitStatus(), nil
	}
	return 0, err
}

func startError(command string, err error) error {
	code := exitNotExecutable
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		code = exitNotFound
	}
	return &exitError{code: code, err: fmt.Errorf("%s: %w", command, err)}
}

// laboratoryError adds what a person can do about a system that refuses.
func laboratoryError(command string, err error) error {
	var refused *lab.NamespaceError
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOMEM):
		return fmt.Errorf("%s: %w", command, err) // a limit, not a permission
	case errors.As(err, &refused):
		hint := "run it as root, or allow user namespaces: sysctl user.max_user_namespaces, and on Ubuntu kernel.apparmor_restrict_unprivileged_userns"
		if os.Geteuid() == 0 {
			hint = "run it as a root with CAP_SYS_ADMIN and CAP_NET_ADMIN, or at least CAP_SETFCAP, or as another user"
		}
		return &exitError{code: exitPermission, err: fmt.Errorf("%s: %w", command, err), hint: hint}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENODEV):
		return withHint(fmt.Errorf("%s: %w", command, err), "the TUN device is missing: modprobe tun")
	}
	return fmt.Errorf("%s: %w", command, err)
}

// dropPrinter says why packets are dropped. It is called while packets wait, so
// it does no more than one write.
func dropPrinter(w io.Writer) func(sim.Event) {
	return func(e sim.Event) {
		if e.Kind == sim.Dropped {
			fmt.Fprintf(w, "dropped at %s: %s: %s\n", e.Node, e.Summary(), e.Reason)
		}
	}
}

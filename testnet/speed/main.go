//go:build linux

// Command speed measures the data plane between machines that are network
// namespaces joined by veth, and prints one table: Teredo through this
// project's TUN device, userspace stack, relay and server; the same through
// Miredo; a naive tunnel; kernel VXLAN; the bare line, and what it carries of
// the datagrams of any tunnel. Every row comes from rounds in one run that take
// each path in turn, because the speed of a machine changes by the minute: of
// two numbers only the ratio within a round means something, and that is what
// the goals below the table are judged by.
//
// It needs root (Miredo does; without, its rows are left out and said to be),
// iproute2, ethtool and taskset. The namespaces are the program's own and go
// with it, however it ends; no packet leaves them. A path that fails has the
// reason in its row, and the others go on.
//
//	go run ./testnet/speed                                the whole table, some ten minutes
//	go run ./testnet/speed --quick                        a look, under a minute
//	go run ./testnet/speed --only ping --paths tun,miredo one figure, a few seconds a round
//	go run ./testnet/speed --help                         names of figures and paths
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"shipworm/testnet/lab"
)

const (
	// agentArg is the first argument of this program started again.
	agentArg = "agent"
	// profileEnv is the directory for CPU profiles of agents, if any.
	profileEnv = "SPEED_PROFILE"
)

// Exit codes, as the shipworm command has them.
const (
	exitFailure     = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == agentArg {
		if err := runAgent(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintf(os.Stderr, "speed: %s: %v\n", os.Args[2], err)
			os.Exit(exitFailure)
		}
		return
	}
	c, err := parse(os.Args[1:], os.Stdout)
	if errors.Is(err, errHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "speed:", err)
		os.Exit(exitUsage)
	}
	os.Exit(run(c))
}

func run(c *config) int {
	go endWithParent()
	inside, code, err := lab.Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, "speed:", err)
		return exitFailure
	}
	if !inside {
		return code
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err = measure(ctx, c)
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "speed: interrupted")
		return exitInterrupted
	}
	fmt.Fprintln(os.Stderr, "speed:", err)
	return exitFailure
}

// endWithParent ends this process when the one that started it is gone: go run
// that is killed takes nothing with it.
func endWithParent() {
	for parent := os.Getppid(); os.Getppid() == parent; {
		time.Sleep(500 * time.Millisecond)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
}

// measure runs everything and writes the report. It fails if any figure did.
func measure(ctx context.Context, c *config) error {
	limited, cancel := context.WithTimeoutCause(ctx, c.limit, fmt.Errorf("not done within %v", c.limit))
	defer cancel()
	began := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%4.0f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	m := thisMachine()
	if m.Load > 1 {
		say("warning: load average %.1f: something else uses this machine, and the figures will suffer", m.Load)
	}
	s, err := newStage(limited, c, say)
	if err != nil {
		return err
	}
	b := &bench{stage: s, machine: m, searches: map[string]*search{}}
	if err = b.memory(limited); err == nil {
		err = b.rounds(limited)
	}
	b.grown()
	s.close()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r := b.report()
	if err != nil {
		r.Notes = append(r.Notes, "This run is not complete: "+err.Error()+".")
	}
	return errors.Join(err, r.write(c), r.failures())
}

//go:build linux

// Command speed measures the data plane between machines that are network
// namespaces joined by veth, and prints one table: Teredo through this
// project's TUN device, userspace stack, relay and server; the same through
// Miredo; a naive tunnel; kernel VXLAN; and the bare line. Every row comes from
// rounds in one run that take each path in turn, because the speed of a machine
// changes by the minute: of two numbers only the ratio within a round means
// something, and that is what the goals below the table are judged by.
//
// It needs root (Miredo does; without, its rows are left out and said to be),
// iproute2, ethtool, ping and taskset. The namespaces are the
// program's own and go with it, however it ends; no packet leaves them.
//
//	go run ./testnet/speed            the whole table, some ten minutes
//	go run ./testnet/speed --quick    a look, under two
//	go run ./testnet/speed --paths 'TUN$|Miredo$' --tests tcp1 --profile /tmp
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
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

// config is the command line.
type config struct {
	rounds   int
	quick    bool
	json     bool
	markdown bool
	command  string         // that was given
	only     *regexp.Regexp // of paths
	tests    []string       // nil for all
	profile  string
	shipworm string // the binary whose memory is measured

	span   time.Duration // of one measurement of throughput
	probes int           // of the UDP rate, a round
	pings  int           // a round
	limit  time.Duration // of the whole run
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == agentArg {
		if err := runAgent(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintf(os.Stderr, "speed: %s: %v\n", os.Args[2], err)
			os.Exit(1)
		}
		return
	}
	var c config
	var paths, tests string
	flag.IntVar(&c.rounds, "rounds", 0, "rounds, each of which takes every path once (default 6, with --quick 2)")
	flag.BoolVar(&c.quick, "quick", false, "fewer and shorter rounds: a look, not a result")
	flag.BoolVar(&c.json, "json", false, "print JSON")
	flag.BoolVar(&c.markdown, "markdown", false, "print a page of documentation")
	flag.StringVar(&paths, "paths", "", "only paths that match this regular expression")
	flag.StringVar(&tests, "tests", "", "only these tests, separated by commas: "+testNames())
	flag.StringVar(&c.shipworm, "shipworm", "bin/shipworm", "the binary whose memory is measured")
	flag.StringVar(&c.profile, "profile", "", "write a CPU profile of each of our processes into this directory")
	flag.Parse()
	if err := c.check(paths, tests); err != nil {
		fmt.Fprintln(os.Stderr, "speed:", err)
		os.Exit(2)
	}
	os.Exit(run(c))
}

func run(c config) int {
	inside, code, err := lab.Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, "speed:", err)
		return 1
	}
	if !inside {
		return code
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	if err := measure(ctx, &c); err != nil {
		fmt.Fprintln(os.Stderr, "speed:", err)
		return 1
	}
	return 0
}

// check completes the configuration, and names every problem.
func (c *config) check(paths, tests string) error {
	var errs []error
	c.span, c.probes, c.pings, c.limit = time.Second, 5, 300, 30*time.Minute
	if c.quick {
		c.span, c.probes, c.pings, c.limit = 400*time.Millisecond, 4, 60, 5*time.Minute
	}
	if c.rounds == 0 {
		c.rounds = 6
		if c.quick {
			c.rounds = 2
		}
	}
	if c.rounds < 1 || c.rounds > 1000 {
		errs = append(errs, fmt.Errorf("--rounds %d: not 1 to 1000", c.rounds))
	}
	if c.json && c.markdown {
		errs = append(errs, errors.New("--json and --markdown: one of the two"))
	}
	c.command = strings.Join(append([]string{"go run ./testnet/speed"}, os.Args[1:]...), " ")
	var err error
	if c.only, err = regexp.Compile(paths); err != nil {
		errs = append(errs, fmt.Errorf("--paths: %w", err))
	}
	if tests != "" {
		c.tests = strings.Split(tests, ",")
	}
	for _, n := range c.tests {
		if !known(n) {
			errs = append(errs, fmt.Errorf("--tests %s: there are %s", n, testNames()))
		}
	}
	if c.profile != "" {
		if c.profile, err = filepath.Abs(c.profile); err == nil {
			err = errors.Join(os.MkdirAll(c.profile, 0o755), os.Setenv(profileEnv, c.profile))
		}
		errs = append(errs, err)
	}
	if c.shipworm, err = filepath.Abs(c.shipworm); err != nil {
		errs = append(errs, err)
	}
	for _, part := range []struct{ program, debian string }{
		{"ip", "iproute2"}, {"ethtool", "ethtool"}, {"ping", "iputils-ping"}, {"taskset", "util-linux"},
	} {
		if _, err := exec.LookPath(part.program); err != nil {
			errs = append(errs, fmt.Errorf("missing: %s (Debian package %s)", part.program, part.debian))
		}
	}
	return errors.Join(errs...)
}

//go:build linux

// Command demo runs the main job for real, on one machine: two homes behind
// NATs, a Teredo server between them, a User at a real X display who invites
// a Helper, and the Helper at a real browser. It prints each step with its
// time, leaves pictures and logs in a folder, and ends with 0 only when every
// step was observed. It needs root or unprivileged user namespaces; nothing
// of it touches the network of the machine.
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
	"strings"
	"syscall"
	"time"

	"shipworm/testnet/lab"
	"shipworm/testnet/nat"
)

// config is the command line.
type config struct {
	shipworm   string        // path of the binary under demonstration
	natA, natB string        // the User's and the Helper's NAT
	out        string        // folder for pictures, logs and transcripts
	delay      time.Duration // one way, on each home's line
	bench      benchConfig
}

func main() {
	var c config
	flag.StringVar(&c.shipworm, "shipworm", "bin/shipworm", "the binary to demonstrate")
	flag.StringVar(&c.natA, "nat-a", "port-restricted", "NAT of the User's home: "+strings.Join(nat.Profiles(), ", "))
	flag.StringVar(&c.natB, "nat-b", "port-restricted", "NAT of the Helper's home")
	flag.StringVar(&c.out, "out", "demo-out", "folder for screenshots, logs and transcripts")
	flag.DurationVar(&c.delay, "delay", 12500*time.Microsecond, "one-way delay of each home's line")
	c.bench.register(flag.CommandLine)
	flag.Parse()
	os.Exit(run(c))
}

func run(c config) int {
	if err := preflight(&c); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 1
	}
	inside, code, err := lab.Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 1
	}
	if !inside {
		return code
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	act, limit := demonstrate, 2*time.Minute
	if c.bench.on {
		act, limit = measure, benchLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := act(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "demo: FAILED:", err)
		fmt.Fprintln(os.Stderr, "transcripts:", c.out)
		return 1
	}
	return 0
}

// preflight checks the flags and names every missing part at once.
func preflight(c *config) error {
	errs := []error{c.bench.check()}
	for _, name := range []string{c.natA, c.natB} {
		if _, ok := nat.Profile(name); !ok {
			errs = append(errs, fmt.Errorf("no NAT called %q; there are: %s", name, strings.Join(nat.Profiles(), ", ")))
		}
	}
	for _, part := range []struct{ program, debian string }{
		{"Xvfb", "xvfb"}, {"xterm", "xterm"}, {"import", "imagemagick"}, {"chromium", "chromium"}, {"nsenter", "util-linux"},
	} {
		if _, err := exec.LookPath(part.program); err != nil && !(c.bench.on && part.program == "chromium") {
			errs = append(errs, fmt.Errorf("missing: %s (Debian package %s)", part.program, part.debian))
		}
	}
	var err error
	if c.shipworm, err = filepath.Abs(c.shipworm); err == nil {
		_, err = os.Stat(c.shipworm)
	}
	if err != nil {
		errs = append(errs, fmt.Errorf("missing: the binary: %w (make build)", err))
	}
	if c.out, err = filepath.Abs(c.out); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

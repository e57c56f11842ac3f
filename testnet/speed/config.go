//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// config is the command line.
type config struct {
	rounds   int
	quick    bool
	json     bool
	markdown string   // file, if any
	only     []string // figures; none for all
	paths    []string // kinds; none for all
	wires    []string // cables; none for all
	profile  string
	shipworm string // the binary whose memory is measured
	command  string // that was given

	span   time.Duration // of one measurement of throughput
	probe  time.Duration // of one of the UDP rate
	probes int           // of the UDP rate, a round
	pings  int           // a round
	limit  time.Duration // of the whole run
}

// errHelp is for --help, which has been answered.
var errHelp = flag.ErrHelp

const usage1 = `Measure the data plane between network namespaces, and print one table.

  go run ./testnet/speed [flags]

Flags:
`

const usage2 = `
Figures, for --only:
%s
Paths, for --paths; all but the kernel's and the mixed ones run on the no-USO wire
as well, and those between TUNs or stacks and the UDP runs on the GRO wire:
%s
Wires, for --wire, differ in what they do with runs of UDP datagrams:
  uso            takes them whole
  no-uso         has the kernel cut them first
  gro            has it cut them, and its ends join what arrives, as the drivers
                 of network cards do; tcp1 and cpu only

Examples: the whole table, some ten minutes; a look at everything, under a
minute; single figures beside Miredo's, seconds a round:

  go run ./testnet/speed --markdown docs/performance.md
  go run ./testnet/speed --quick
  go run ./testnet/speed --only ping --paths tun,miredo --rounds 4
  go run ./testnet/speed --only cpu --paths tun --wire no-uso --rounds 3 --profile /tmp/speed
  go run ./testnet/speed --only udp --paths tun,miredo
  go run ./testnet/speed --only server
  go run ./testnet/speed --only memory --paths tun --shipworm bin/shipworm

stdout has the result, stderr the progress. Exit codes: 0, whether or not goals
were met; 1 if a figure could not be measured; 2 wrong flags; 130 interrupted.
`

// parse reads the command line and names every problem; --help is answered on
// help.
func parse(args []string, help io.Writer) (*config, error) {
	c := &config{}
	var only, paths, wires string
	f := flag.NewFlagSet("speed", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.IntVar(&c.rounds, "rounds", 0, "rounds, each of which takes every path once (default 6, with --quick 1)")
	f.BoolVar(&c.quick, "quick", false, "shorter measurements: a look, not a result")
	f.StringVar(&only, "only", "", "only these `figures`, separated by commas")
	f.StringVar(&paths, "paths", "", "only these `paths`, separated by commas")
	f.StringVar(&wires, "wire", "", "only these `wires`, separated by commas")
	f.BoolVar(&c.json, "json", false, "print JSON")
	f.StringVar(&c.markdown, "markdown", "", "write the page docs/performance.md to this `file` as well")
	f.StringVar(&c.shipworm, "shipworm", "bin/shipworm", "the `binary` whose memory is measured")
	f.StringVar(&c.profile, "profile", "", "write profiles of CPU and allocations of each of our processes into this `folder`")
	err := f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		f.SetOutput(help)
		fmt.Fprint(help, usage1)
		f.PrintDefaults()
		fmt.Fprintf(help, usage2, figureNames(), kindIDs())
		return nil, errHelp
	}
	if err == nil && f.NArg() > 0 {
		err = fmt.Errorf("%s: there are no arguments, only flags: see --help", f.Arg(0))
	}
	if err != nil {
		return nil, err
	}
	c.command = strings.Join(append([]string{"go run ./testnet/speed"}, args...), " ")
	return c, c.check(only, paths, wires)
}

// check completes the configuration.
func (c *config) check(only, paths, wires string) error {
	var errs []error
	rounds := 6
	c.span, c.probe, c.probes, c.pings, c.limit = 800*time.Millisecond, 250*time.Millisecond, 5, 250, 20*time.Minute
	if c.quick {
		rounds = 1
		c.span, c.probe, c.probes, c.pings = 250*time.Millisecond, 80*time.Millisecond, 2, 40
	}
	if c.rounds == 0 {
		c.rounds = rounds
	}
	if c.rounds < 1 || c.rounds > 1000 {
		errs = append(errs, fmt.Errorf("--rounds %d: not 1 to 1000", c.rounds))
	}
	c.limit = max(c.limit, time.Duration(c.rounds)*3*time.Minute)
	var err error
	if c.only, err = list("--only", only, func(s string) bool {
		return slices.ContainsFunc(figures, func(f figure) bool { return f.name == s })
	}); err != nil {
		errs = append(errs, err)
	}
	if c.paths, err = list("--paths", paths, func(s string) bool { return find(s) != nil }); err != nil {
		errs = append(errs, err)
	}
	if c.wires, err = list("--wire", wires, func(s string) bool {
		return slices.ContainsFunc(cables, func(w struct{ id, name string }) bool { return w.id == s })
	}); err != nil {
		errs = append(errs, err)
	}
	if err == nil && !c.takesAny() {
		errs = append(errs, errors.New("--only, --paths and --wire: no path has any of these figures on these wires"))
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
		{"ip", "iproute2"}, {"ethtool", "ethtool"}, {"taskset", "util-linux"},
	} {
		if _, err := exec.LookPath(part.program); err != nil {
			errs = append(errs, fmt.Errorf("missing: %s (Debian package %s)", part.program, part.debian))
		}
	}
	return errors.Join(errs...)
}

// list splits a list of names.
func list(name, text string, known func(string) bool) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	names := strings.Split(text, ",")
	for _, n := range names {
		if !known(n) {
			return nil, fmt.Errorf("%s: there is no %q: see --help", name, n)
		}
	}
	return names, nil
}

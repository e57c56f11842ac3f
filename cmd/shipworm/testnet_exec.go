package main

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"shipworm/testnet/igd"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

// The network of `testnet exec`, and the server of `testnet up`. The addresses
// are documented in the help.
var (
	execServer  = []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")}
	execOutside = netip.MustParseAddr("198.51.100.10")
	execInside  = netip.MustParseAddr("192.168.1.2")
	execGateway = netip.MustParseAddr("192.168.1.1")
	// execOutsideIGD is the outside where ports can be opened: miniupnpc refuses
	// addresses for documentation.
	execOutsideIGD = netip.MustParseAddr("11.0.0.10")
)

// execOptions are the flags of `testnet exec`.
type execOptions struct {
	nat     string
	igd     string
	ipv6    ipv6Flags
	delay   time.Duration
	loss    percentage
	seed    uint64
	server  string
	trace   string
	verbose bool

	natConfig nat.Config // looked up from nat, without External
	router    igd.Profile
	line      link.Config
	argv      []string
}

func newTestnetExecCmd() *cobra.Command {
	var o execOptions
	c := &cobra.Command{
		Use:   "exec --nat NAME [flags] -- PROGRAM [ARGS...]",
		Short: "Run an unmodified program behind a simulated NAT",
		Long: `Run an unmodified program behind a simulated NAT.

The program runs at 192.168.1.2 in a network namespace of its own; root is not
needed. The NAT's outside is 198.51.100.10, which is also the program's address
where nothing is translated. On the other side of the NAT is one server, 203.0.113.1 and 203.0.113.2,
also called "server". By default it echoes UDP and TCP on port 7, and tells on
port 80 from which address and port a client came; --server runs a program of
yours there instead. Nothing else can be reached, and nothing reaches the
network of this machine.

With --igd the NAT's router, 192.168.1.1, opens ports for the program: by NAT-PMP,
PCP or UPnP, as soundly as the profile says. The NAT's outside is then 11.0.0.10,
since some programs refuse the other address.

With --ipv6 the program's host is 2001:db8:a::2 as well, and the server 2001:db8::1
and 2001:db8::2. Nothing is translated; a firewall lets in what was asked for, as
home routers do (RFC 6092), or with --firewall6 none everything. Without the flag
there is IPv4 only, so that no program goes past the NAT.

Standard input, output, the terminal and the exit code are the program's own.
The program's files, and the sockets among them, are those of this machine: this
is no sandbox.`,
		Example: `  shipworm testnet exec --nat symmetric -- curl http://203.0.113.1/
  shipworm testnet exec --nat linux --delay 20ms --loss 1% -- bash
  shipworm testnet exec --nat port-restricted --server "iperf3 -s -1" -- iperf3 -c server
  shipworm testnet exec --nat symmetric --igd miniupnpd -- upnpc -l
  shipworm testnet exec --nat symmetric --trace evidence -- ping -c 3 server`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return withHint(usageError(errors.New("testnet exec: no program given")), "usage: "+c.CommandPath()+" --nat NAME -- PROGRAM [ARGS...]")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			o.argv = args
			if err := o.resolve(); err != nil {
				return usageError(fmt.Errorf("testnet exec: %w", err))
			}
			return runTestnetExec(c.Context(), &o)
		},
	}
	f := c.Flags()
	f.SetInterspersed(false)
	f.StringVar(&o.nat, "nat", "", "the NAT in front of the program: a `NAME` of testnet list, or a file")
	f.StringVar(&o.igd, "igd", "", "how the NAT's router opens ports; see `NAME`s in testnet list --igd")
	o.ipv6.add(c)
	f.DurationVar(&o.delay, "delay", 0, "`time` that a packet takes between program and server, each way")
	f.Var(&o.loss, "loss", "`share` of packets lost, each way: 1.5% or 0.015")
	f.Uint64Var(&o.seed, "seed", 0, "`number` that decides lost packets and random ports")
	f.StringVar(&o.server, "server", "", "shell `command` to run on the server instead of echo and HTTP")
	f.StringVar(&o.trace, "trace", "", traceUsage)
	f.BoolVarP(&o.verbose, "verbose", "v", false, "say on standard error why each packet was dropped, and what the router was asked")
	return c
}

// resolve looks the names up and checks the values.
func (o *execOptions) resolve() error {
	valid := validNATs()
	if o.nat == "" {
		return errors.New("--nat is missing: " + valid)
	}
	cfg, err := namedNAT(o.nat)
	if errors.Is(err, nat.ErrNoProfile) {
		return fmt.Errorf("no such NAT: %q: %s", o.nat, valid)
	}
	if err != nil {
		return fmt.Errorf("--nat: %w", err)
	}
	o.natConfig = cfg
	o.natConfig.Seed = o.seed
	if o.router, err = lookupIGD(o.igd, cfg); err != nil {
		return err
	}
	if err := o.ipv6.resolve(); err != nil {
		return err
	}
	if o.delay < 0 {
		return fmt.Errorf("--delay %v is negative", o.delay)
	}
	o.line = link.Config{Delay: o.delay, Loss: float64(o.loss), Seed: o.seed}
	return o.line.Validate()
}

// validNATs tells what --nat takes.
func validNATs() string {
	return "valid are " + strings.Join(nat.Profiles(), ", ") + ", or a file with a profile in JSON"
}

// percentage is a share of 0..1 that is also read as "1.5%".
type percentage float64

// String is pflag.Value's.
func (p *percentage) String() string {
	return strconv.FormatFloat(float64(*p)*100, 'g', -1, 64) + "%"
}

// Type is pflag.Value's.
func (p *percentage) Type() string { return "share" }

// Set is pflag.Value's.
func (p *percentage) Set(s string) error {
	number, percent := strings.CutSuffix(s, "%")
	v, err := strconv.ParseFloat(number, 64)
	if percent {
		v /= 100
	}
	if err != nil || math.IsNaN(v) || v < 0 || v > 1 {
		return errors.New("want a share such as 1.5% or 0.015")
	}
	*p = percentage(v)
	return nil
}

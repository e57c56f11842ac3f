package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"shipworm/testnet/igd"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

// upOptions are the flags of `testnet up`.
type upOptions struct {
	nat, nat2 string
	igd       string
	ipv6      ipv6Flags
	hosts     int
	in        string
	join      string
	delay     time.Duration
	loss      percentage
	seed      uint64
	trace     string
	verbose   bool

	router   igd.Profile
	homes    []upHome
	line     link.Config
	joinID   int
	joinHost string
	argv     []string
}

// upHome is one home of the map, its first host first.
type upHome struct {
	name    string
	profile string
	nat     nat.Config
	outside netip.Addr
	hosts   []upHost
}

type upHost struct {
	name  string
	addr  netip.Addr
	addr6 []netip.Addr // at most one
}

// upMaxHosts keeps the addresses of a home in its /24.
const upMaxHosts = 50

func newTestnetUpCmd() *cobra.Command {
	var o upOptions
	c := &cobra.Command{
		Use:   "up --nat NAME [flags] [-- PROGRAM [ARGS...]]",
		Short: "Build two homes behind NATs, and open a shell in one",
		Long: `Build two homes behind NATs and a server, print a map, and open a shell on the
host "alice". The shell is $SHELL, or the PROGRAM given. Every host finds the
others by name as far as the NATs let packets through; the server echoes UDP and
TCP on port 7, and tells on port 80 from which address and port a client came.

With --igd the router of each home, the first address of its network, opens ports
for programs: by NAT-PMP, PCP or UPnP, as soundly as the profile says.

With --ipv6 the server is 2001:db8::1 too, and the homes have 2001:db8:a::/64 and
2001:db8:b::/64, untranslated. A firewall lets in what was asked for (RFC 6092),
or with --firewall6 none everything.

--join opens further shells on any of the hosts, from another terminal: the map
shows how. Root is not needed.

Nothing else can be reached, and nothing reaches the network of this machine.
Everything ends with the first shell, further shells and daemons included, and
also when it is killed. The files are those of this machine: this is no sandbox.`,
		Example: `  shipworm testnet up --nat port-restricted --nat2 symmetric
  shipworm testnet up --nat linux --hosts 3 --in bob2 -- bash
  shipworm testnet up --join 4711:bob -- iperf3 -s`,
		RunE: func(c *cobra.Command, args []string) error {
			o.argv = args
			if err := o.resolve(c.Flags().NFlag()); err != nil {
				return usageError(fmt.Errorf("testnet up: %w", err))
			}
			if o.join != "" {
				return joinTestnet(&o)
			}
			return runTestnetUp(c.Context(), &o)
		},
	}
	f := c.Flags()
	f.SetInterspersed(false)
	f.StringVar(&o.nat, "nat", "", "the NAT of both homes: a `NAME` of testnet list, or a file")
	f.StringVar(&o.nat2, "nat2", "", "another NAT for the second home (`NAME`)")
	f.StringVar(&o.igd, "igd", "", "how the routers of the homes open ports; see `NAME`s in testnet list --igd")
	o.ipv6.add(c)
	f.IntVar(&o.hosts, "hosts", 1, "`number` of hosts in each home")
	f.StringVar(&o.in, "in", "alice", "the `HOST` to open the shell on")
	f.StringVar(&o.join, "join", "", "open a shell on a host of a laboratory that is up (`NUMBER:HOST`)")
	f.DurationVar(&o.delay, "delay", 0, "`time` that a packet takes between a home and the Internet, each way")
	f.Var(&o.loss, "loss", "`share` of packets lost there, each way: 1.5% or 0.015")
	f.Uint64Var(&o.seed, "seed", 0, "`number` that decides lost packets and random ports")
	f.StringVar(&o.trace, "trace", "", traceUsage)
	f.BoolVarP(&o.verbose, "verbose", "v", false, "say on standard error why each packet was dropped, and what the routers were asked")
	return c
}

// resolve looks the names up and checks the values. flags is how many were
// given.
func (o *upOptions) resolve(flags int) error {
	if len(o.argv) == 0 {
		shell := os.Getenv("SHELL")
		if shell == "" {
			shell = "/bin/sh"
		}
		o.argv = []string{shell}
	}
	if o.join != "" {
		id, host, ok := strings.Cut(o.join, ":")
		n, err := strconv.Atoi(id)
		if !ok || err != nil || n <= 0 || host == "" {
			return fmt.Errorf("--join wants NUMBER:HOST as the map shows it, not %q", o.join)
		}
		if flags > 1 {
			return errors.New("--join takes no other flag: the laboratory is up already")
		}
		o.joinID, o.joinHost = n, host
		return nil
	}
	valid := validNATs()
	if o.nat == "" {
		return errors.New("--nat is missing: " + valid)
	}
	if o.nat2 == "" {
		o.nat2 = o.nat
	}
	if o.hosts < 1 || o.hosts > upMaxHosts {
		return fmt.Errorf("--hosts must be 1 to %d", upMaxHosts)
	}
	if err := o.ipv6.resolve(); err != nil {
		return err
	}
	for i, profile := range []string{o.nat, o.nat2} {
		cfg, err := namedNAT(profile)
		if errors.Is(err, nat.ErrNoProfile) {
			return fmt.Errorf("no such NAT: %q: %s", profile, valid)
		}
		if err != nil {
			return err
		}
		home := o.home(i, profile, cfg)
		if o.router, err = lookupIGD(o.igd, home.nat); err != nil {
			return err
		}
		if o.igd != "" {
			home.outside = netip.AddrFrom4([4]byte{byte(11 + i), 0, 0, 10})
			home.nat.External = []netip.Addr{home.outside}
		}
		home.nat.Seed = o.seed
		o.homes = append(o.homes, home)
	}
	if !o.has(o.in) {
		return fmt.Errorf("no such host: %q: there are %s", o.in, strings.Join(o.names(), ", "))
	}
	if o.delay < 0 {
		return fmt.Errorf("--delay %v is negative", o.delay)
	}
	o.line = link.Config{Delay: o.delay, Loss: float64(o.loss), Seed: o.seed}
	return o.line.Validate()
}

// home gives the i-th home its addresses: private ones, or where nothing is
// translated, those of the network that the outside address is from.
func (o *upOptions) home(i int, profile string, cfg nat.Config) upHome {
	h := upHome{
		name:    []string{"home1", "home2"}[i],
		profile: profile,
		nat:     cfg,
		outside: netip.AddrFrom4([][4]byte{{198, 51, 100, 10}, {192, 0, 2, 10}}[i]),
	}
	first := netip.AddrFrom4([4]byte{192, 168, byte(i + 1), 2})
	if cfg.NoTranslation {
		first = h.outside
	} else {
		h.nat.External = []netip.Addr{h.outside}
	}
	for n := range o.hosts {
		name := []string{"alice", "bob"}[i]
		if n > 0 {
			name += strconv.Itoa(n + 1)
		}
		h.hosts = append(h.hosts, upHost{name, first, o.ipv6.host(i, n)})
		first = first.Next()
	}
	return h
}

func (o *upOptions) names() []string {
	names := []string{"server"}
	for _, home := range o.homes {
		for _, h := range home.hosts {
			names = append(names, h.name)
		}
	}
	return names
}

func (o *upOptions) has(host string) bool {
	for _, n := range o.names() {
		if n == host {
			return true
		}
	}
	return false
}

// writeMap prints the network, and how to get to other hosts.
func (o *upOptions) writeMap(w io.Writer, command string, id int) error {
	var table bytes.Buffer
	tw := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "server\t%s\techo on port 7, a page on port 80\n", spaced(o.ipv6.server()))
	for i, home := range o.homes {
		outside := home.outside.String()
		if home.nat.NoTranslation {
			outside = "-"
		}
		kind := "NAT " + home.profile
		if o.igd != "" {
			kind += ", port mapping " + o.igd
		}
		if o.ipv6.on {
			outside += " " + o.ipv6.prefix(i).String()
			kind += ", IPv6 firewall " + o.ipv6.name
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", home.name, outside, kind)
		for _, h := range home.hosts {
			fmt.Fprintf(tw, "  %s\t%s\t\n", h.name, spaced(append([]netip.Addr{h.addr}, h.addr6...)))
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(table.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\nThe shell on %s ends all of this. Others open in other terminals, on any HOST:\n  %s --join %d:HOST\n\n",
		o.in, command, id)
	return err
}

// spaced joins addresses by spaces.
func spaced(addrs []netip.Addr) string {
	text := make([]string, len(addrs))
	for i, a := range addrs {
		text[i] = a.String()
	}
	return strings.Join(text, " ")
}

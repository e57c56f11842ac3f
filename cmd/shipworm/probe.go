package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"shipworm/natprobe"
	"shipworm/natprobe/report"
)

// probeServerEnv names the server where --server does not. There is no
// built-in default, for the reason that Teredo has none.
const probeServerEnv = "SHIPWORM_STUN_SERVER"

const stunPort = 3478

// probeFlags are those of shipworm probe.
type probeFlags struct {
	servers  []string
	json     bool
	save     string
	watch    bool
	interval time.Duration
	redact   bool
	redactor report.Redactor
	hairpin  bool
	mtu      bool
	lifetime time.Duration
	all      bool
	timeout  time.Duration
	verbose  bool
	teredo   string
	second   string
	system   systemFile
	router   mapFlags
}

// allLifetime is the idle time that --all tests: a little beyond the two
// minutes that RFC 4787, REQ-5 demands.
const allLifetime = 130 * time.Second

func newProbeCmd(system systemFile) *cobra.Command {
	f := probeFlags{system: system}
	c := &cobra.Command{
		Use:   "probe [--server HOST[:PORT]]...",
		Short: "Tell what kind of NAT or firewall this host is behind",
		Long: `Ask STUN servers what becomes of this host's UDP packets, and say it in the words
of RFC 4787, RFC 3489 and netsh, with what follows for Teredo and for Remote
Assistance. A server that speaks RFC 5780 or 3489 tells everything; two others,
run by different people, tell the mapping. "shipworm probe server" is one of the
first kind.

Behind a NAT the router is asked, too, for its external address: another one than
the servers see is a second NAT. If no server answers, a Teredo server tells what
it can.

What is not certain is said to be unknown. A probe that is interrupted, or not
finished in time, prints what it knows by then. Exit code 3 if UDP is blocked, if
nobody answers, or if it remains unknown what there is: for a NAT its mapping,
without a NAT whether a firewall filters.`,
		Example: `  shipworm probe --server stun.example.net
  shipworm probe --server 198.51.100.1 --all --save home.json
  shipworm testnet exec --nat home.json -- ping 198.51.100.1`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError(fmt.Errorf("no such command: %q", "probe "+args[0]))
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c) },
	}
	c.Flags().StringArrayVar(&f.servers, "server", nil, "STUN `server`, HOST or HOST:PORT; twice to ask a second one (default $"+probeServerEnv+")")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON; with --watch one line a report")
	c.Flags().StringVar(&f.save, "save", "", "write a profile of the NAT for \"shipworm testnet\" into this `file`; tests ports and fragments too")
	c.Flags().BoolVar(&f.watch, "watch", false, "probe again and again, and print what changes")
	c.Flags().DurationVar(&f.interval, "interval", time.Minute, "time between the probes of --watch, 10s or more")
	c.Flags().BoolVar(&f.redact, "redact", false, "hide addresses, ports and names")
	c.Flags().BoolVar(&f.hairpin, "hairpin", false, "test hairpinning, which some firewalls take for an attack")
	c.Flags().BoolVar(&f.mtu, "mtu", false, "find the largest packet that gets out in one piece (Linux)")
	c.Flags().DurationVar(&f.lifetime, "lifetime", 0, "test idle mappings of up to this age; takes up to three times as long")
	c.Flags().BoolVar(&f.all, "all", false, "every test: ports, fragments, hairpin, MTU, lifetimes up to "+allLifetime.String())
	c.Flags().StringVar(&f.second, "second-address", "", "another `address` of this host behind the same NAT: see what two hosts get that use one port")
	c.Flags().DurationVar(&f.timeout, "timeout", 0, "give up a probe after this time (default: as long as its tests take)")
	c.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "log to stderr")
	c.Flags().StringVar(&f.teredo, "teredo", "", "Teredo `server` to ask if no STUN server answers (default that of the Teredo client's configuration, or $"+teredoServerEnv+")")
	f.router.add(c)
	c.Flags().Lookup("no-upnp").Usage = "do not ask the router for its external address, by UPnP, PCP or NAT-PMP"
	c.AddCommand(newProbeServerCmd())
	return c
}

func (f *probeFlags) config(ctx context.Context) (natprobe.Config, map[netip.AddrPort]string, error) {
	cfg := natprobe.Config{Logger: verboseLog(f.verbose)}
	servers := f.servers
	if env := os.Getenv(probeServerEnv); len(servers) == 0 && env != "" {
		servers = strings.Split(env, ",")
	}
	switch {
	case len(servers) == 0:
		return cfg, nil, withHint(usageError(errors.New("probe: no server named")),
			"name one with --server or "+probeServerEnv+"; `shipworm probe server` runs one on a host with two public addresses")
	case len(servers) > 2:
		return cfg, nil, usageError(fmt.Errorf("probe: %d servers, at most 2", len(servers)))
	case f.watch && f.interval < 10*time.Second:
		return cfg, nil, usageError(fmt.Errorf("probe: --interval %v: want 10s or more", f.interval))
	case f.timeout < 0 || f.lifetime < 0:
		return cfg, nil, usageError(errors.New("probe: a negative time"))
	}
	more := f.all || f.save != "" // a profile needs what costs little
	cfg.Tests = natprobe.Tests{
		Ports: more, Fragments: more, Hairpin: f.hairpin || f.all, MTU: f.mtu || f.all,
		Layers: true, Lifetime: f.lifetime, StreamLifetime: f.lifetime,
	}
	if f.second != "" {
		var err error
		if cfg.Second, err = ownAddress(f.second); err != nil {
			return cfg, nil, usageError(fmt.Errorf("probe: --second-address: %w", err))
		}
	}
	if f.all && f.lifetime == 0 {
		cfg.Tests.Lifetime, cfg.Tests.StreamLifetime = allLifetime, allLifetime
	}
	ports, err := f.router.mapper(cfg.Logger, nil)
	if err != nil {
		return cfg, nil, err
	}
	cfg.AskWAN = routerAddress(ports)
	if flags := (teredoFlags{system: f.system, server: f.teredo, verbose: f.verbose}); teredoNamed(flags) {
		cfg.Teredo = teredoView(flags)
	}
	names := map[netip.AddrPort]string{}
	for _, s := range servers {
		found, err := resolveSTUN(ctx, strings.TrimSpace(s))
		if err != nil {
			return cfg, nil, err
		}
		for _, ap := range found {
			if !slices.Contains(cfg.Servers, ap) {
				cfg.Servers = append(cfg.Servers, ap)
			}
			names[ap] = strings.TrimSpace(s)
		}
	}
	return cfg, names, nil
}

// ownAddress reads an address that this host must have.
func ownAddress(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return a, fmt.Errorf("%q is no address", s)
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return a, err
	}
	for _, own := range all {
		if p, err := netip.ParsePrefix(own.String()); err == nil && p.Addr() == a {
			return a, nil
		}
	}
	return a, fmt.Errorf("%v is not an address of this host", a)
}

const offlineHint = "this host has no route there: is it online?"

// resolveSTUN returns one endpoint of each address family that a server has.
func resolveSTUN(ctx context.Context, server string) ([]netip.AddrPort, error) {
	host, port := server, uint16(stunPort)
	literal := server
	if strings.HasPrefix(server, "[") && strings.HasSuffix(server, "]") {
		literal = server[1 : len(server)-1]
	}
	if a, err := netip.ParseAddr(literal); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(a.Unmap(), port)}, nil
	}
	if h, p, err := net.SplitHostPort(server); err == nil {
		n, err := net.DefaultResolver.LookupPort(ctx, "udp", p)
		if err != nil || n < 1 || n > 65535 {
			return nil, usageError(fmt.Errorf("probe: --server %q: no port: %q", server, p))
		}
		host, port = h, uint16(n)
	}
	if host == "" {
		return nil, usageError(fmt.Errorf("probe: --server %q: no host", server))
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		hint := "check the name, or give the server's address"
		if errors.Is(err, syscall.ENETUNREACH) {
			hint = offlineHint
		}
		return nil, withHint(fmt.Errorf("probe: %w", err), hint)
	}
	var out []netip.AddrPort
	for _, a := range found {
		if a = a.Unmap(); !slices.ContainsFunc(out, func(o netip.AddrPort) bool { return o.Addr().Is4() == a.Is4() }) {
			out = append(out, netip.AddrPortFrom(a, port))
		}
	}
	return out, nil
}

func (f *probeFlags) run(c *cobra.Command) error {
	cfg, names, err := f.config(c.Context())
	if err != nil {
		return err
	}
	p, err := natprobe.New(cfg)
	if err != nil {
		return usageError(oneLine(err))
	}
	if f.save != "" { // better now than after minutes of tests
		if _, err := os.Stat(filepath.Dir(f.save) + "/."); err != nil {
			return fmt.Errorf("probe: --save: %w", err)
		}
	}
	var last *report.Report
	for {
		r, err := f.probe(c.Context(), p, names)
		// Of a probe that was ended what is known by then is shown; what changed
		// cannot be told from it.
		if r != nil && (err == nil || last == nil) {
			if err := f.show(c.OutOrStdout(), last, r); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
		if f.save != "" {
			if err := saveProfile(f.save, r); err != nil {
				return err
			}
		}
		if !f.watch {
			return probeResult(r)
		}
		if last != nil {
			r = report.Carry(last, r)
		}
		last = r
		select {
		case <-c.Context().Done():
			return c.Context().Err()
		case <-time.After(f.interval):
		}
	}
}

// probe returns a report, or one of what was known when it was ended with the
// error that says why.
func (f *probeFlags) probe(ctx context.Context, p *natprobe.Prober, names map[netip.AddrPort]string) (*report.Report, error) {
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		t := time.AfterFunc(time.Second, func() { fmt.Fprintln(os.Stderr, "probing ...") })
		defer t.Stop()
	}
	r, err := p.Run(ctx)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		err = negativeError(fmt.Errorf("probe: not finished after %v", f.timeout))
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		err = withHint(oneLine(err), offlineHint)
	case err != nil:
		err = oneLine(err)
	}
	if r == nil {
		return nil, err
	}
	for _, half := range []*report.Report{r, r.IPv6} {
		if half == nil {
			continue
		}
		for i := range half.Servers {
			if name, ok := names[half.Servers[i].Addr]; ok {
				half.Servers[i].Name = name
			}
		}
	}
	if f.redact {
		r = f.redactor.Redact(r)
	}
	return r, err
}

// show prints a report, or, when watching, what changed since the last one.
func (f *probeFlags) show(w io.Writer, last, r *report.Report) error {
	switch {
	case f.json && f.watch:
		return json.NewEncoder(w).Encode(r)
	case f.json:
		return printJSON(w, r)
	case last == nil:
		return r.WriteText(w)
	}
	for _, line := range report.Changes(last, r) {
		if _, err := fmt.Fprintf(w, "%s %s\n", r.Time.Format(time.DateTime), line); err != nil {
			return err
		}
	}
	return nil
}

// probeResult is the error that makes the exit code.
func probeResult(r *report.Report) error {
	switch {
	case r.Access == report.Blocked:
		return withHint(negativeError(errors.New("probe: UDP is blocked")), "the network may let UDP out to other ports or after a login")
	case r.Silence != report.Answered:
		return withHint(negativeError(errors.New("probe: no server answered")), "try another --server")
	case r.Access == report.AccessUnknown || r.Mapping == report.BehaviorUnknown:
		return withHint(negativeError(errors.New("probe: not everything is known")), "name a server of RFC 5780, or a second --server")
	}
	return nil
}

// saveProfile writes the file that shipworm testnet reads.
func saveProfile(path string, r *report.Report) error {
	b, err := r.Profile()
	if errors.Is(err, report.ErrIncomplete) {
		return withHint(negativeError(fmt.Errorf("probe: --save: %w", err)), "a server of RFC 5780 tells mapping and filtering")
	} else if err != nil {
		return err
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		return fmt.Errorf("probe: --save: %w", err)
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"shipworm/teredo"
	"shipworm/teredo/tun"
)

// relayFlags are those of teredo relay.
type relayFlags struct {
	tunnel   tunFlags
	prefixes []string
	servers  []string
	own      bool
	host     string
	address  string
	port     uint16
	direct   bool
	noEcho   bool
	plain    bool
	stats    string
	verbose  bool
}

func newTeredoRelayCmd(system systemFile) *cobra.Command {
	var f relayFlags
	c := &cobra.Command{
		Use:   "relay --tun NAME",
		Short: "Run a Teredo relay, for this host or for networks",
		Long: `Run a Teredo relay until it is interrupted: the way between Teredo clients and
native IPv6. It makes an interface (Linux; root or CAP_NET_ADMIN) and routes
2001::/32 into it; all of it disappears with the relay.

Without --prefix it serves this host alone, on one of its native IPv6 addresses:
programs here reach Teredo clients straight, and clients reach the ports of
--open. With --prefix it is a public relay for the networks named, and for
nobody else. The host must forward IPv6 (sysctl net.ipv6.conf.all.forwarding=1),
and others must route 2001::/32 to it.

A client gets no packet of anybody before it has answered a bubble through its
own server. Through a server that --server does not name, and through which no
client answered yet, four bubbles in 300 s are all there is.`,
		Example: `  sudo shipworm teredo relay --tun teredo --open tcp/22
  sudo shipworm teredo relay --tun teredo --prefix 2001:db8:1::/48 --server 203.0.113.1`,
		Args: exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := system.forbids(); err != nil {
				return err
			}
			ctx, stop := system.guard(c.Context())
			defer stop()
			cfg, err := f.config()
			if err != nil {
				return err
			}
			if len(cfg.Prefixes) > 0 && !forwards() {
				fmt.Fprintln(c.ErrOrStderr(), "shipworm: this host forwards no IPv6, and a public relay is of no use on it: sysctl net.ipv6.conf.all.forwarding=1")
			}
			cfg.Open = func() (teredo.Device, error) { return f.device(len(cfg.Prefixes) > 0) }
			ready := func() {}
			cfg.OnReady = func(s teredo.RelayState) {
				ready()
				fmt.Fprintf(c.ErrOrStderr(), "relaying for %s on UDP %v\n", joinPrefixes(s.Served), s.Local)
			}
			r, err := teredo.NewRelay(cfg)
			if err != nil {
				return usageError(oneLine(err))
			}
			page, err := openMetrics(f.stats) // before privileges go
			if err != nil {
				return err
			}
			defer page.close()
			page.serve(func(m *metrics) { relayMetrics(m, r.State()) })
			tell, quiet := startNotify(func() string {
				st := r.State()
				return fmt.Sprintf("relaying for %s, %d clients", joinPrefixes(st.Served), st.PeersTrusted)
			})
			defer quiet()
			ready = tell
			return teredoRelayError(ctx, r.Run(ctx))
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.tunnel.name, "tun", "", "make the interface `name`")
	fl.StringArrayVar(&f.prefixes, "prefix", nil, "serve the native network `prefix`; repeatable")
	fl.BoolVar(&f.own, "host-specific", false, "serve this host alone, as without --prefix")
	fl.StringVar(&f.host, "host", "", "the `address` of this host to serve (default the one it sends from)")
	fl.StringArrayVar(&f.tunnel.open, "open", nil, "without --prefix: let every client reach `protocol/port`, such as tcp/22; repeatable")
	fl.BoolVar(&f.noEcho, "no-echo", false, "without --prefix: do not answer pings; clients then do not find the relay")
	fl.StringArrayVar(&f.servers, "server", nil, "IPv4 `address` of a Teredo server that is known as such; repeatable")
	fl.StringVar(&f.address, "listen", "0.0.0.0", "local IPv4 `address`")
	fl.Uint16Var(&f.port, "port", 0, "UDP `port` (default a random one)")
	fl.BoolVar(&f.direct, "behind-nat", false, "open our own NAT too (default where the IPv4 address is private)")
	fl.BoolVar(&f.plain, "plain", false, "move no packets in runs, for kernels and network cards that do so wrong")
	f.tunnel.addUser(c)
	addMetrics(c, &f.stats)
	addConfig(c, "relay", nil)
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "log to stderr")
	return watched(c)
}

// config returns the configuration, without a device.
func (f *relayFlags) config() (teredo.RelayConfig, error) {
	cfg := teredo.RelayConfig{Direct: f.direct, Plain: f.plain, Logger: verboseLog(f.verbose)}
	var errs []error
	bad := func(flag, value, want string) {
		errs = append(errs, fmt.Errorf("--%s %q: not %s", flag, value, want))
	}
	if f.tunnel.name == "" {
		return cfg, withHint(usageError(errors.New("teredo relay: no interface named")), "name one that is to be made, such as --tun teredo")
	}
	if len(f.prefixes) > 0 && (f.own || f.host != "" || len(f.tunnel.open) > 0 || f.noEcho) {
		return cfg, usageError(errors.New("teredo relay: --host-specific, --host, --open and --no-echo are for a relay without --prefix"))
	}
	for _, s := range f.prefixes {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			bad("prefix", s, "an IPv6 prefix")
		}
		cfg.Prefixes = append(cfg.Prefixes, p)
	}
	for _, s := range f.servers {
		a, err := netip.ParseAddr(s)
		if err != nil || !a.Is4() {
			bad("server", s, "an IPv4 address")
		}
		cfg.Servers = append(cfg.Servers, a)
	}
	if f.host != "" {
		a, err := netip.ParseAddr(f.host)
		if err != nil || !a.Is6() {
			bad("host", f.host, "an IPv6 address")
		}
		cfg.Host = a
	}
	a, err := netip.ParseAddr(f.address)
	if err != nil || !a.Is4() {
		bad("listen", f.address, "an IPv4 address")
	}
	if len(errs) > 0 {
		return cfg, usageError(fmt.Errorf("teredo relay: %w", oneLine(errors.Join(errs...))))
	}
	cfg.Local = netip.AddrPortFrom(a, f.port)
	return cfg, nil
}

// device makes the interface and then gives up every privilege.
func (f *relayFlags) device(public bool) (teredo.Device, error) {
	if err := f.tunnel.checkUser(); err != nil {
		return nil, err
	}
	var dev teredo.Device
	var err error
	if public {
		dev, err = tun.NewRouter(f.tunnel.name, f.plain)
		err = tunError(err)
	} else {
		// The address is the host's already.
		dev, err = f.tunnel.device(tun.Config{NoEcho: f.noEcho, Plain: f.plain, Assign: tun.NewWatch(f.tunnel.name)})
	}
	if err != nil {
		return nil, err
	}
	if err := f.tunnel.confine(verboseLog(f.verbose), false); err != nil {
		dev.Close()
		return nil, err
	}
	return dev, nil
}

// forwards reports whether the kernel forwards IPv6, as far as can be seen.
func forwards() bool {
	b, err := os.ReadFile("/proc/sys/net/ipv6/conf/all/forwarding")
	return err != nil || strings.TrimSpace(string(b)) != "0"
}

func joinPrefixes(ps []netip.Prefix) string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteString(", ")
		}
		if p.IsSingleIP() {
			b.WriteString(p.Addr().String())
		} else {
			b.WriteString(p.String())
		}
	}
	return b.String()
}

func teredoRelayError(ctx context.Context, err error) error {
	err = oneLine(err)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, teredo.ErrNoNative):
		return withHint(negativeError(err), "a relay is for hosts that have native IPv6; the others are Teredo clients")
	}
	return err
}

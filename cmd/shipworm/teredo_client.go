package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"shipworm/teredo"
	"shipworm/teredo/engine"
	"shipworm/upnp"
)

func newTeredoClientCmd(system systemFile) *cobra.Command {
	var (
		flags  = teredoFlags{system: system}
		tunnel tunFlags
		router mapFlags
		opts   clientOptions
		noEcho bool
		plain  bool
		force  bool
		local  bool
		cone   bool
		find   bool
		idle   time.Duration
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "client",
		Short: "Hold a Teredo address until interrupted",
		Long: `Ask a Teredo server for an address and hold it until interrupted, with a line
for each change. The address answers pings and nothing else: the host behind it
lives in this process, and no port of it is open.

With --tun the address is that of an interface of this host (Linux), and every
program reaches other Teredo hosts through it. From outside only the ports of
--open are reached. Making the interface needs root or CAP_NET_ADMIN; all of it
disappears with the client.

Only by the server's second address, as in --server 203.0.113.1,203.0.113.2, a
client can tell that its NAT is symmetric, and so find its way through.

The router is asked to lead a port to the client, so that every peer reaches it
whatever the NATs. On a domain network Teredo is off but for --type
enterpriseclient.

It ends with exit code 3 where native IPv6 works, now or later, unless --force is
given, and if the server does not answer at all. Once there was an
address it stays and tries again, in the end every five minutes.

While it runs, "shipworm teredo show" of the same user shows its state.`,
		Example: `  shipworm teredo client --server 203.0.113.1
  sudo shipworm teredo client --server 203.0.113.1 --tun teredo --open tcp/22`,
		Args: exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := flags.config()
			if err != nil {
				return err
			}
			cfg.Port, cfg.NoEcho, cfg.Idle, cfg.LocalDiscovery = opts.port, noEcho, idle, local
			cfg.Fallback = opts.servers()
			cfg.ConeTest, cfg.FindRefresh = cone, find
			cfg.Plain = plain
			cfg.Force = force || opts.typ == typeEnterprise
			cfg.Refresh = time.Duration(opts.refresh) * time.Second
			opts.managed = router.network == upnp.Domain.String()
			if err := opts.forbidden(); err != nil {
				return err
			}
			m, err := router.mapper(cfg.Logger, tunnel.journalDir)
			if err != nil {
				return err
			}
			cfg.Map = teredoMap(m, upnp.DefaultLease)
			ctx, stop := system.guard(c.Context())
			defer stop()
			return runTeredoClient(ctx, cfg, &opts, force, &tunnel, newStateWriter(c.OutOrStdout(), asJSON), c.ErrOrStderr())
		},
	}
	flags.add(c)
	tunnel.add(c)
	opts.add(c)
	router.add(c)
	addConfig(c, "client", system.clientFiles())
	c.Flags().BoolVar(&noEcho, "no-echo", false, "do not answer pings")
	c.Flags().BoolVar(&plain, "plain", false, "move no packets in runs, for kernels and network cards that do so wrong")
	c.Flags().BoolVar(&force, "force", false, "run although native IPv6 works here, as --type enterpriseclient does")
	c.Flags().BoolVar(&local, "local-discovery", false, "announce this host on its link, so that Teredo clients there find it without a server")
	c.Flags().BoolVar(&cone, "cone-test", false, "tell a cone NAT from a restricted one, for show")
	c.Flags().BoolVar(&find, "find-refresh", false, "find out how long the NAT keeps an idle mapping, and ask the server only that often, up to every 120 s")
	c.Flags().DurationVar(&idle, "idle", 0, "end once nothing was sent or received for this long, at least 10s (default never)")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object for each change, one a line")
	return watched(c, holdsMappings)
}

// clientOptions are what netsh sets, besides the server, and what an operator
// wants.
type clientOptions struct {
	typ     clientType
	refresh uint16
	port    uint16
	metrics string
	managed bool // a network of an office

	fallback []string
}

// servers are the further ones of --fallback.
func (o *clientOptions) servers() (list []teredo.ServerName) {
	for _, f := range o.fallback {
		list = append(list, splitServer(f))
	}
	return list
}

func (o *clientOptions) add(c *cobra.Command) {
	o.typ = typeDefault
	c.Flags().Var(&o.typ, "type", "client, enterpriseclient, natawareclient, disabled or default")
	c.Flags().Uint16Var(&o.refresh, "refresh", 0, "longest time between two solicitations, in `seconds`, 5 to 45 (default 30)")
	c.Flags().Uint16Var(&o.port, "port", 0, "local UDP `port` (default a random one from 49152 on)")
	c.Flags().StringArrayVar(&o.fallback, "fallback", nil, "another `server`, written as for --server, for when the first is silent; repeatable")
	addMetrics(c, &o.metrics)
}

func runTeredoClient(ctx context.Context, cfg teredo.ClientConfig, opts *clientOptions, force bool, tunnel *tunFlags, out *stateWriter, stderr io.Writer) error {
	stats, err := openMetrics(opts.metrics)
	if err != nil {
		return err
	}
	defer stats.close()
	ctl, hidden := openControl()
	if hidden != nil {
		ctl = &control{}
	}
	defer ctl.close()
	if tunnel.name != "" {
		dev, stop, err := tunnel.start(&cfg, append(ctl.paths(), stats.paths()...))
		if err != nil {
			return err
		}
		defer stop()
		cfg.Device = dev
	} else if err := tunnel.needless(); err != nil {
		return err
	}
	// The packets must not wait for whoever reads our output.
	events := make(chan teredo.Event, 64)
	cfg.OnEvent = func(e teredo.Event) {
		switch e.Kind {
		case engine.Qualified, engine.AddressLost, engine.ServerUnreachable:
			select {
			case events <- e:
			default:
			}
		}
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	return withTeredo(ctx, cfg, func(c *teredo.Client) error {
		if hidden != nil {
			fmt.Fprintf(stderr, "shipworm: teredo show will not find this client: %v\n", hidden)
		}
		ctl.serve(&liveClient{client: c, end: end, force: force, set: *opts})
		stats.serve(func(m *metrics) { clientMetrics(m, c.State()) })
		alive, stop := startNotify(func() string { return clientStatus(c.State()) })
		defer stop()
		alive()
		if _, err := waitQualified(ctx, c, cfg.Server); err != nil {
			return err
		}
		for {
			select {
			case e := <-events:
				alive()
				if err := out.write(e, c.State()); err != nil {
					return err
				}
			case <-c.Done():
				return net.ErrClosed
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
}

// stateWriter prints the changes of a client's state.
type stateWriter struct {
	w     io.Writer
	json  *json.Encoder // nil for text
	again bool          // there was an address
}

func newStateWriter(w io.Writer, asJSON bool) *stateWriter {
	s := &stateWriter{w: w}
	if asJSON {
		s.json = json.NewEncoder(w)
	}
	return s
}

// stateChange is a line of `teredo client --json`, schema 1.
type stateChange struct {
	Schema  int            `json:"schema"`
	Event   string         `json:"event"` // qualified, address lost, server unreachable
	Address teredo.Address `json:"address"`
	Server  string         `json:"server"`
	Local   netip.AddrPort `json:"local"`
	Mapped  netip.AddrPort `json:"mapped"`
	AfterMS float64        `json:"after_ms,omitempty"` // from the start, for the first address
	RTTMS   float64        `json:"rtt_ms,omitempty"`
	RetryAt time.Time      `json:"retry_at,omitzero"`
}

func (s *stateWriter) write(e teredo.Event, st teredo.State) error {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	after := st.QualifiedAfter
	if s.again || e.Kind != engine.Qualified {
		after = 0
	}
	s.again = s.again || e.Kind == engine.Qualified
	if s.json != nil {
		return s.json.Encode(stateChange{
			Schema: 1, Event: e.Kind.String(), Address: e.Address, Server: st.ServerName,
			Local: st.Local, Mapped: st.Mapped, AfterMS: ms(after), RTTMS: ms(e.RTT), RetryAt: e.RetryAt,
		})
	}
	var err error
	switch e.Kind {
	case engine.Qualified:
		when := ""
		if after > 0 {
			when = " after " + milliseconds(after)
		}
		_, err = fmt.Fprintf(s.w, "qualified: %v%s (server %s, %s away)\nmapping: %v is %v outside\n",
			e.Address, when, st.ServerName, milliseconds(e.RTT), st.Local, e.Address.Mapped())
	case engine.AddressLost:
		_, err = fmt.Fprintf(s.w, "address lost: %v\n", e.Address)
	case engine.ServerUnreachable:
		_, err = fmt.Fprintf(s.w, "server unreachable: %s, next try in %v\n", st.ServerName, time.Until(e.RetryAt).Round(time.Second))
	}
	return err
}

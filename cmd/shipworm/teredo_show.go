package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/spf13/cobra"

	"shipworm/teredo"
	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
	"shipworm/upnp"
)

func newTeredoShowCmd(system systemFile) *cobra.Command {
	var (
		flags  = teredoFlags{system: system}
		cone   bool
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "show",
		Short: "Show the state of the Teredo client, as netsh does",
		Long: `Show the state of the Teredo client that this user runs, in the words and the
layout of "netsh interface teredo show state". If none runs, or --server names
another server than the one it uses, an address is asked for once, shown and
given up again. Exit code 3 if there is no address.

The kind of NAT is that which the server's two addresses saw: what its filter
lets in is not tried on the way to an address (RFC 5991). --cone-test tries it
for display, which takes up to 16 s; "shipworm probe" tells more. With --verbose every counter follows, the packets dropped by reason.`,
		Args: exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			raw, err := teredoState(c.Context(), &flags, cone)
			if raw == nil {
				return err
			}
			var st shownState
			if err := json.Unmarshal(raw, &st); err != nil {
				return fmt.Errorf("teredo show: the running client sent something else: %w", err)
			}
			if asJSON {
				err = oneLine(errors.Join(err, printJSON(c.OutOrStdout(), json.RawMessage(raw))))
			} else {
				err = oneLine(errors.Join(err, showState(c.OutOrStdout(), &st)))
				if flags.verbose {
					err = oneLine(errors.Join(err, showCounters(c.OutOrStdout(), &st.State)))
				}
			}
			switch {
			case err != nil || st.Address.IsValid():
				return err
			case st.Type == typeDisabled:
				return withHint(negativeError(errors.New("teredo: disabled")), "shipworm teredo set --type default")
			}
			return withHint(negativeError(errors.New("teredo: not qualified")), "`shipworm teredo client -v` shows what it tries")
		},
	}
	flags.add(c)
	c.Flags().BoolVar(&cone, "cone-test", false, "tell a cone NAT from a restricted one, unless a client runs already")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, with every counter")
	return c
}

// shownState is what `teredo show --json` prints and what the control socket
// carries, schema 1.
type shownState struct {
	Schema  int        `json:"schema"`
	Type    clientType `json:"type"`
	Managed bool       `json:"managed"` // --network domain
	teredo.State
}

func shownJSON(st teredo.State, typ clientType, managed bool) ([]byte, error) {
	return json.Marshal(shownState{1, typ, managed, st})
}

// clientSettings are what the configuration says about a client, as far as
// netsh shows it.
type clientSettings struct {
	clientOptions
	server string
}

// client returns the settings of the client that this user would run.
func (f systemFile) client() (clientSettings, error) {
	var set clientSettings
	var router mapFlags
	c := &cobra.Command{}
	set.add(c)
	router.add(c)
	c.Flags().StringVar(&set.server, "server", "", "")
	for _, file := range f.clientFiles() {
		s, err := file.read()
		if err != nil {
			return set, err
		}
		for key := range s["client"] {
			if c.Flags().Lookup(key) == nil {
				delete(s["client"], key) // not shown
			}
		}
		if err := s.apply(file.path, "client", c.Flags()); err != nil {
			return set, err
		}
	}
	set.managed = router.network == upnp.Domain.String()
	return set, nil
}

// shown returns the state of a client with these settings, as JSON.
func (s *clientSettings) shown(st teredo.State) ([]byte, error) {
	st.Port = s.port
	return shownJSON(st, s.typ, s.managed)
}

// notRunning returns the state of a client that does not run because the
// configuration forbids it, as JSON, or nil.
func (f systemFile) notRunning() ([]byte, error) {
	set, err := f.client()
	if err != nil {
		return nil, err
	}
	if errors.Is(f.forbids(), errTeredoDisabled) {
		set.typ = typeDisabled
	}
	if set.typ != typeDisabled && (!set.managed || set.typ == typeEnterprise) {
		return nil, nil
	}
	st := teredo.State{ServerName: splitServer(set.server).Primary}
	st.ClientState.State = engine.Offline
	if st.Refresh = time.Duration(set.refresh) * time.Second; st.Refresh == 0 {
		st.Refresh = engine.DefaultRefresh
	}
	return set.shown(st)
}

// teredoState returns the state of a running client, or of one that it runs
// for the purpose, as JSON. With an error there may be one to show nonetheless.
func teredoState(ctx context.Context, flags *teredoFlags, cone bool) ([]byte, error) {
	raw, err := queryControl(ctx)
	switch {
	case err == nil:
		var st shownState
		if flags.server == "" || json.Unmarshal(raw, &st) == nil && st.ServerName == splitServer(flags.server).Primary {
			return raw, nil
		}
	case flags.server != "":
	case isDeaf(err):
		return nil, fmt.Errorf("teredo show: a client runs and does not answer: %w", err)
	default:
		if raw, err := flags.system.notRunning(); raw != nil || err != nil {
			return raw, err
		}
	}
	cfg, err := flags.config()
	if err != nil {
		return nil, err
	}
	cfg.ConeTest = cone
	set := clientSettings{clientOptions: clientOptions{typ: typeDefault}}
	if flags.server == "" { // the client of the configuration, but for its port, which may be in use
		if set, err = flags.system.client(); err != nil {
			return nil, err
		}
		cfg.Refresh = time.Duration(set.refresh) * time.Second
	}
	raw = nil
	err = withTeredo(ctx, cfg, func(c *teredo.Client) error {
		_, err := waitQualified(ctx, c, cfg.Server)
		var q *teredo.QualifyError
		if err == nil || errors.As(err, &q) && q.Stage == teredo.StageSolicit {
			switch {
			case err != nil:
			case cone:
				err = waitState(ctx, c, conePatience, func(s *teredo.State) bool { return s.Filtering != engine.FilteringUnknown })
			case cfg.Secondary != "":
				err = waitNAT(ctx, c)
			}
			var bad error
			raw, bad = set.shown(c.State())
			err = errors.Join(err, bad)
		}
		return err
	})
	return raw, err
}

// Patience with what a qualified client finds out beside: how the NAT maps, if
// its server has a second address, and what its filter lets in.
const (
	natPatience  = 5 * time.Second
	conePatience = 17 * time.Second
)

// waitNAT waits until it is known how the NAT maps, if it becomes known.
func waitNAT(ctx context.Context, c *teredo.Client) error {
	return waitState(ctx, c, natPatience, func(s *teredo.State) bool { return s.NAT != wire.NATUnknown })
}

// waitState waits until a client's state is as wanted, but not for ever.
func waitState(ctx context.Context, c *teredo.Client, longest time.Duration, wanted func(*teredo.State) bool) error {
	for begin := time.Now(); time.Since(begin) < longest; {
		if s := c.State(); wanted(&s) {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-c.Done():
			return net.ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

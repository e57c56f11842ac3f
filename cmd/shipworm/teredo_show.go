package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"shipworm/teredo"
	"shipworm/teredo/engine"
)

func newTeredoShowCmd() *cobra.Command {
	var (
		flags  teredoFlags
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "show",
		Short: "Show the state of the Teredo client, as netsh does",
		Long: `Show the state of the Teredo client that this user runs, in the words and the
layout of "netsh interface teredo show state". If none runs, or --server names
another server than the one it uses, an address is asked for once, shown and
given up again. Exit code 3 if there is no address.

What netsh prints and we do not know is said to be unknown: the kind of NAT is
not probed on the way to an address (RFC 5991).`,
		Args: exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			raw, err := teredoState(c.Context(), &flags)
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
				err = oneLine(errors.Join(err, showState(c.OutOrStdout(), &st.State)))
			}
			if err == nil && !st.Address.IsValid() {
				err = withHint(negativeError(errors.New("teredo: not qualified")), "`shipworm teredo client -v` shows what it tries")
			}
			return err
		},
	}
	flags.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, with every counter")
	return c
}

// shownState is what `teredo show --json` prints and what the control socket
// carries, schema 1.
type shownState struct {
	Schema int `json:"schema"`
	teredo.State
}

func shownJSON(st teredo.State) ([]byte, error) { return json.Marshal(shownState{1, st}) }

// teredoState returns the state of a running client, or of one that it runs
// for the purpose, as JSON. With an error there may be one to show nonetheless.
func teredoState(ctx context.Context, flags *teredoFlags) ([]byte, error) {
	if raw, err := queryControl(ctx); err == nil {
		var st shownState
		wanted, _ := flags.named()
		if flags.server == "" || json.Unmarshal(raw, &st) == nil && st.ServerName == wanted {
			return raw, nil
		}
	}
	cfg, err := flags.config()
	if err != nil {
		return nil, err
	}
	var raw []byte
	err = withTeredo(ctx, cfg, func(c *teredo.Client) error {
		_, err := waitQualified(ctx, c, cfg.Server)
		var q *teredo.QualifyError
		if err == nil || errors.As(err, &q) && q.Stage == teredo.StageSolicit {
			var bad error
			raw, bad = shownJSON(c.State())
			err = errors.Join(err, bad)
		}
		return err
	})
	return raw, err
}

// showState prints st as netsh does: header, 45 dashes, labels padded to 24.
// Like netsh it leaves out the lines that have nothing to tell in a state.
func showState(w io.Writer, st *teredo.State) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Teredo Parameters\n%s\n", strings.Repeat("-", 45))
	printLabel(&b, "Type", "client")
	printLabel(&b, "Server Name", st.ServerName)
	printLabel(&b, "Client Refresh Interval", fmt.Sprintf("%d seconds", int(st.Refresh/time.Second)))
	if st.Port == 0 {
		printLabel(&b, "Client Port", "unspecified")
	} else {
		printLabel(&b, "Client Port", st.Port)
	}
	switch st.State {
	case engine.Ready, engine.Unreachable:
		printLabel(&b, "State", "qualified")
		printLabel(&b, "Client Type", "teredo client")
		printLabel(&b, "Network", "unmanaged")
		printLabel(&b, "NAT", natOf(st))
		printLabel(&b, "NAT Special Behaviour", "UPNP: Unknown, PortPreserving: "+yesNo(st.Local.Port() == st.Mapped.Port()))
		printLabel(&b, "Local Mapping", st.Local)
		printLabel(&b, "External NAT Mapping", st.Mapped)
	case engine.Offline:
		printLabel(&b, "State", "offline")
		// netsh has such a line; its English words for this case are not
		// known to us.
		printLabel(&b, "Error", "primary teredo server cannot be reached over UDP")
	case engine.Qualifying:
		printLabel(&b, "State", "probe (primary server)")
		printLabel(&b, "Client Type", "teredo client")
		printLabel(&b, "Network", "unmanaged")
	default:
		printLabel(&b, "State", "dormant")
	}
	_, err := w.Write(b.Bytes())
	return err
}

// natOf says what is known of the NAT: whether there is one.
func natOf(st *teredo.State) string {
	if st.Local == st.Mapped {
		return "none (global connectivity)"
	}
	return "unknown"
}

func yesNo(b bool) string {
	if b {
		return "Yes"
	}
	return "No"
}

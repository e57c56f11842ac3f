package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"shipworm/teredo"
)

// teredoServerEnv names the server where --server does not. There is no
// built-in default: the public servers of old are gone, and a name that
// nobody runs would only make every error message lie.
const teredoServerEnv = "SHIPWORM_TEREDO_SERVER"

const labelWidth = 24 // as netsh pads

func newTeredoCmd(system systemFile) *cobra.Command {
	c := group("teredo", "An IPv6 address behind a NAT: client, server and tools",
		newTeredoClientCmd(system), newTeredoServerCmd(system), newTeredoRelayCmd(system), newTeredoPingCmd(system),
		newTeredoDecodeCmd(), newTeredoShowCmd(system), newTeredoSetCmd(system), newTeredoHelperCmd())
	c.Long = `Teredo (RFC 4380) gives a host behind a NAT an IPv6 address that other Teredo
hosts can reach directly. A Teredo server helps to open the NATs; data never
passes through it.`
	return c
}

// teredoFlags are the flags of every command that runs a client.
type teredoFlags struct {
	system   systemFile
	server   string
	clientID string
	keyFile  string
	verbose  bool
}

func (f *teredoFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.server, "server", "", "Teredo `server`: a name or IPv4 address, and optionally \",\" and its second one (default that of the configuration, or $"+teredoServerEnv+")")
	c.Flags().StringVar(&f.clientID, "client-id", "", "qualify securely under this `identifier`, with --key-file")
	c.Flags().StringVar(&f.keyFile, "key-file", "", "key table with our key, as of teredo server: `file`")
	c.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "log to stderr")
}

// named returns the server that the flag, the configuration or the environment
// names; none if none does.
func (f *teredoFlags) named() (teredo.ServerName, error) {
	s := f.server
	if s == "" {
		set, err := f.system.client()
		if err != nil {
			return teredo.ServerName{}, err
		}
		s = set.server
	}
	if s == "" {
		s = os.Getenv(teredoServerEnv)
	}
	return splitServer(s), nil
}

// splitServer reads a server as people write it, and perhaps "," and its second
// address.
func splitServer(s string) teredo.ServerName {
	primary, secondary, _ := strings.Cut(s, ",")
	return teredo.ServerName{Primary: strings.TrimSpace(primary), Secondary: strings.TrimSpace(secondary)}
}

// config returns the configuration of a client, without any port. It is forced:
// who asks for a single act of Teredo wants that.
func (f *teredoFlags) config() (teredo.ClientConfig, error) {
	if err := f.system.forbids(); err != nil {
		return teredo.ClientConfig{}, err
	}
	server, err := f.named()
	if err != nil {
		return teredo.ClientConfig{}, err
	}
	if server.Primary == "" {
		return teredo.ClientConfig{}, withHint(usageError(errors.New("teredo: no server named")),
			"name one with --server or "+teredoServerEnv+"; `shipworm teredo set --server` keeps it; `shipworm teredo server` runs one on a host with a public address")
	}
	key, err := credential(f.clientID, f.keyFile)
	if err != nil {
		return teredo.ClientConfig{}, err
	}
	return teredo.ClientConfig{Server: server.Primary, Secondary: server.Secondary, Credential: key, Logger: verboseLog(f.verbose), Force: true}, nil
}

func verboseLog(verbose bool) *slog.Logger {
	if !verbose {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// teredoError gives what a client or server returned its exit code and hint.
func teredoError(ctx context.Context, err error) error {
	var q *teredo.QualifyError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, teredo.ErrIdle):
		return nil
	case errors.Is(err, teredo.ErrNative):
		return withHint(negativeError(err), "programs here need no Teredo; --force runs it all the same, `shipworm teredo relay` shortens the way to Teredo hosts")
	case !errors.As(err, &q):
		return err
	}
	switch {
	case q.Stage == teredo.StageSocket:
		return withHint(err, "another program may use the port; without --port a free one is picked")
	case errors.Is(err, teredo.ErrServerDenied):
		return withHint(negativeError(err), "a Teredo server has a public IPv4 address, outside the networks of this host")
	case q.Stage == teredo.StageResolve:
		return withHint(negativeError(err), "check the name, or give the server's IPv4 address")
	default:
		return withHint(negativeError(err), "UDP to port 3544 may be blocked on the way, or no Teredo server runs there")
	}
}

// withTeredo runs a client while f does, and waits for its end.
func withTeredo(ctx context.Context, cfg teredo.ClientConfig, f func(*teredo.Client) error) error {
	c, err := teredo.NewClient(cfg)
	if err != nil {
		return usageError(oneLine(err))
	}
	run, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- c.Run(run) }()
	err = f(c)
	early := isDone(c)
	stop()
	if cause := <-ended; early && errors.Is(err, net.ErrClosed) {
		err = cause // why the client was gone, in place of the fact
	}
	return teredoError(ctx, err)
}

func isDone(c *teredo.Client) bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

// waitQualified waits for an address and says on a terminal that it does, if it
// takes more than a second.
func waitQualified(ctx context.Context, c *teredo.Client, server string) (teredo.Address, error) {
	if term.IsTerminal(int(os.Stderr.Fd())) {
		t := time.AfterFunc(time.Second, func() {
			fmt.Fprintf(os.Stderr, "waiting for an answer from %s ...\n", server)
		})
		defer t.Stop()
	}
	return c.WaitQualified(ctx)
}

// oneLine puts the parts of a joined error on one line.
func oneLine(err error) error {
	if err == nil {
		return nil
	}
	return lineError{err}
}

type lineError struct{ err error }

func (e lineError) Error() string { return strings.ReplaceAll(e.err.Error(), "\n", "; ") }
func (e lineError) Unwrap() error { return e.err }

// printLabel prints one line of aligned text, as netsh does.
func printLabel(w io.Writer, label string, value any) {
	fmt.Fprintf(w, "%-*s: %v\n", labelWidth, label, value)
}

// printJSON prints v, indented.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// milliseconds rounds a duration for people.
func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

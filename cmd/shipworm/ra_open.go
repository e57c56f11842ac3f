package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"github.com/spf13/cobra"

	"shipworm/ra"
	"shipworm/ra/invite"
	"shipworm/teredo"
	"shipworm/upnp"
)

// passwordTries is how often a person may type the password. Nobody else is
// told of a wrong one: it opens nothing that could be sent.
const passwordTries = 3

type raOpenFlags struct {
	raFlags
	password passwordFlags
	server   string
	direct   string
	router   mapFlags
}

func newRAOpenCmd(system systemFile) *cobra.Command {
	f := raOpenFlags{raFlags: raFlags{system: system}}
	c := &cobra.Command{
		Use:   "open FILE",
		Short: "Open an invitation and help its user",
		Long: `Open an invitation and help its user.

The password is asked for on the terminal. The addresses in the invitation are
shown before they are dialled: whoever wrote the file chose them.

Lines typed are chat; /help lists the commands. The desktop is shown by the
web page whose address is printed.`,
		Args: oneFile,
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.run(c, args[0]); err != nil {
				return fmt.Errorf("ra open: %w", err)
			}
			return nil
		},
	}
	f.raFlags.add(c)
	f.password.add(c)
	c.Flags().StringVar(&f.server, "server", "", "Teredo `server` (default that of the configuration, or $"+teredoServerEnv+", else the one that the user's address names)")
	c.Flags().StringVar(&f.direct, "direct", "", "use no Teredo, but the kernel's UDP from this address of yours")
	f.router.add(c)
	return watched(c, holdsMappings)
}

func (f *raOpenFlags) run(c *cobra.Command, name string) error {
	ctx := c.Context()
	if f.server != "" && f.direct != "" {
		return usageError(errors.New("--server and --direct exclude each other"))
	}
	kind, err := f.router.kind()
	if err != nil {
		return err
	}
	file, err := readInvitation(name)
	if err != nil {
		return err
	}
	var tunnel *teredoNetwork
	start := func(server string) (err error) {
		ports, err := f.router.mapper(f.logger(), mappingDir)
		if err == nil {
			tunnel, err = startTeredo(teredoFlags{system: f.system, server: server}, ports, f.logger())
		}
		if err == nil {
			tunnel.told = tellTeredo(c.ErrOrStderr())
		}
		return err
	}
	defer func() {
		if tunnel != nil {
			tunnel.close()
		}
	}()
	off := f.teredoOff(kind)
	if off == nil && teredoNamed(teredoFlags{system: f.system, server: f.server}) {
		if err := start(f.server); err != nil {
			return err
		}
	}
	inv, password, err := unseal(c, file, &f.password)
	if err != nil {
		return err
	}
	if file.Expired(time.Now()) {
		// A note only: which clock is right the user's side knows.
		fmt.Fprintf(c.ErrOrStderr(), "by this machine's clock the invitation expired at %s\n", inv.Expires.Local().Format("15:04:05 on January 02, 2006"))
	}
	kernel := kernelNetwork{}
	if f.direct != "" {
		if kernel.addr, err = parseDirect(f.direct); err != nil {
			return err
		}
	}
	if server := serverOf(inv); tunnel == nil && server.IsValid() {
		switch {
		case off == nil:
			if err := start(server.String()); err != nil {
				return err
			}
		case hasOther(inv) && f.direct == "":
			fmt.Fprintf(c.ErrOrStderr(), "without teredo: %v\n", off)
		}
	}
	networks := []ra.Network{kernel}
	if tunnel != nil {
		networks = append(networks, tunnel)
	}
	switch {
	case hasOther(inv): // which does not wait for Teredo
	case tunnel != nil:
		if err := tunnel.qualified(ctx); err != nil {
			return raNetworkError(ctx, err)
		}
	case f.direct == "" && off != nil:
		return off
	}
	h, err := ra.NewHelper(ra.HelperConfig{
		Name: f.ownName(), Invitation: inv, Password: password, Networks: networks,
		LogDir: f.logDir, Logger: f.logger(),
	})
	if err != nil {
		return err
	}
	return runSession(ctx, c, h, &f.raFlags, nil)
}

// teredoOff returns why there is to be no Teredo, or nil.
func (f *raOpenFlags) teredoOff(kind upnp.Network) error {
	switch {
	case f.direct != "":
		return errors.New("--direct")
	case kind == upnp.Domain:
		return withHint(errTeredoOff, "--network private, if this is no network of an office")
	}
	return f.system.forbids()
}

// tellTeredo says that there is a Teredo address: it may have taken a while.
func tellTeredo(stderr io.Writer) func(netip.Addr) {
	return func(a netip.Addr) { fmt.Fprintf(stderr, "Teredo address: %s\n", a) }
}

// raNetworkError is teredoError for what may come from another network.
func raNetworkError(ctx context.Context, err error) error {
	if errors.Is(err, errNoMapping) && !errors.As(err, new(*teredo.QualifyError)) {
		return withHint(negativeError(err), "many routers have UPnP switched off: --server names a Teredo server")
	}
	return teredoError(ctx, err)
}

// serverOf returns the Teredo server that an address of the invitation names,
// the zero Addr if none does.
func serverOf(inv *invite.Invitation) netip.Addr {
	for _, c := range inv.Candidates {
		if a, err := teredo.ParseAddress(c.Addr.Addr().String()); c.Kind == invite.Teredo && err == nil {
			return a.Server()
		}
	}
	return netip.Addr{}
}

func hasOther(inv *invite.Invitation) bool {
	for _, c := range inv.Candidates {
		if c.Kind != invite.Teredo {
			return true
		}
	}
	return false
}

func readInvitation(name string) (*invite.File, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, invite.MaxFile+1))
	if err != nil {
		return nil, err
	}
	f, err := invite.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

// errWrongPassword is the short form of invite.ErrPassword for the one line
// that a person reads.
var errWrongPassword = errors.New("wrong password")

const spellingHint = "capital or small letters do not matter, nor do spaces and dashes"

// unseal asks for the password and opens the ticket with it. Who types may
// mistype; a file or a descriptor is not asked twice.
func unseal(c *cobra.Command, file *invite.File, p *passwordFlags) (*invite.Invitation, string, error) {
	for try := 1; ; try++ {
		password, err := p.read(c.Context(), "Password: ")
		if err != nil {
			return nil, "", err
		}
		inv, err := file.Open(password)
		switch {
		case !errors.Is(err, invite.ErrPassword):
			return inv, password, err
		case p.given() || try == passwordTries:
			return nil, "", withHint(errWrongPassword, spellingHint)
		}
		fmt.Fprintf(c.ErrOrStderr(), "wrong password: %s\n", spellingHint)
	}
}

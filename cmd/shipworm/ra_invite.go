package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"shipworm/ra"
	"shipworm/ra/face"
	"shipworm/ra/invite"
	"shipworm/upnp"
)

type raInviteFlags struct {
	raFlags
	file         string
	expires      time.Duration
	server       string
	direct       string
	lan          bool
	router       mapFlags
	display      string
	lossless     bool
	passwordFile string
}

func newRAInviteCmd(system systemFile) *cobra.Command {
	f := raInviteFlags{raFlags: raFlags{system: system}}
	c := &cobra.Command{
		Use:   "invite",
		Short: "Invite a helper to see your desktop",
		Long: `Invite a helper to see your desktop.

Finds out how a helper can reach this machine: by its own IPv6 address, by a
port that the router opens for it (UPnP, PCP or NAT-PMP), and by Teredo if a
server is named. The invitation names these addresses; those of this machine's
own network only with --lan.

Writes an invitation file and shows its password. Send the file by mail or
any other way; read the password out by telephone, never send it along with
the file. The invitation is good for one session and ends with this program.

Nothing is shown before you say Yes, and nothing is typed for you before you
say Yes again. Esc takes control back at once.`,
		Args: exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.run(c); err != nil {
				return fmt.Errorf("ra invite: %w", err)
			}
			return nil
		},
	}
	f.raFlags.add(c)
	c.Flags().StringVar(&f.file, "file", invite.FileName, "the invitation file to write")
	c.Flags().DurationVar(&f.expires, "expires", invite.DefaultLife, "how long the invitation lasts")
	c.Flags().StringVar(&f.server, "server", "", "Teredo `server` (default that of the configuration, or $"+teredoServerEnv+")")
	c.Flags().StringVar(&f.direct, "direct", "", "use no Teredo, but the kernel's UDP at this address of yours")
	c.Flags().BoolVar(&f.lan, "lan", false, "name the address that this host has on its own network, too, for a helper there")
	f.router.add(c)
	c.Flags().StringVar(&f.display, "display", "", "X display to share (default: $DISPLAY)")
	c.Flags().BoolVar(&f.lossless, "lossless", false, "never send pictures as JPEG")
	c.Flags().StringVar(&f.passwordFile, "password-file", "", "write the password to this file instead of showing it")
	return watched(c, holdsMappings, holdsInput)
}

func (f *raInviteFlags) run(c *cobra.Command) error {
	ctx := c.Context()
	switch {
	case f.server != "" && f.direct != "":
		return usageError(errors.New("--server and --direct exclude each other"))
	case f.expires <= 0 || f.expires > invite.MaxLife:
		return usageError(fmt.Errorf("--expires %v is not in 1s to %v", f.expires, invite.MaxLife))
	}
	if f.passwordFile != "" {
		// A password that nobody gets to know is found out before a Helper waits.
		if err := mayWritePassword(f.passwordFile); err != nil {
			return err
		}
	}
	at, err := f.endpoints(ctx, c.ErrOrStderr())
	if err != nil {
		return err
	}
	defer at.close()
	desktop, err := openDesktop(f.display)
	if err != nil {
		return err
	}
	defer desktop.close()
	u, err := ra.NewUser(ra.UserConfig{
		Name: f.ownName(), File: f.file, Life: f.expires, Endpoints: at.list,
		Screen: desktop.screen, Injector: desktop.injector, Esc: desktop.esc,
		Lossless: f.lossless, LogDir: f.logDir, Logger: f.logger(),
	})
	if err != nil {
		return err
	}
	return runSession(ctx, c, u, &f.raFlags, f.showInvitation(c.ErrOrStderr()))
}

// endpoints opens the sockets that the invitation names.
func (f *raInviteFlags) endpoints(ctx context.Context, stderr io.Writer) (*raEndpoints, error) {
	kind, err := f.router.kind()
	if err != nil {
		return nil, err
	}
	if kind != upnp.Private {
		return nil, withHint(negativeError(fmt.Errorf("nobody is invited to a %v network", kind)),
			"--network private, with --no-upnp if the router is to be asked for nothing")
	}
	ports, err := f.router.mapper(f.logger(), mappingDir)
	if err != nil {
		return nil, err
	}
	e := newRAEndpoints(ports, stderr)
	sources, err := f.sources(e)
	if err == nil {
		err = e.open(ctx, sources)
	}
	if err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

// sources are the networks that there are, the fastest first. Of a LAN the
// Helper may have another one with the same addresses: it comes last.
func (f *raInviteFlags) sources(e *raEndpoints) (list []raSource, err error) {
	if f.direct != "" {
		addr, err := parseDirect(f.direct)
		kind := invite.IPv6
		if addr.Is4() || addr.IsPrivate() || addr.IsLinkLocalUnicast() {
			kind = invite.LAN
		}
		return []raSource{e.kernel(kind, addr)}, err
	}
	if addr := ownIPv6(); addr.IsValid() {
		list = append(list, e.kernel(invite.IPv6, addr))
	}
	if e.ports != nil {
		list = append(list, e.mapped())
	}
	if flags := (teredoFlags{system: f.system, server: f.server}); teredoNamed(flags) {
		list = append(list, e.teredo(flags, f.logger()))
	}
	if addr := ownLAN(); f.lan && addr.IsValid() {
		list = append(list, e.kernel(invite.LAN, addr))
	}
	if len(list) == 0 {
		return nil, withHint(usageError(errors.New("no network: give --server or --direct")), "--server names a Teredo server, --direct an IP address of this machine")
	}
	return list, nil
}

// showInvitation returns what prints the invitation, once there is one.
func (f *raInviteFlags) showInvitation(stderr io.Writer) func(face.View, io.Writer) {
	shown := false
	return func(v face.View, out io.Writer) {
		inv := v.Invitation
		if inv == nil || shown {
			return
		}
		shown = true
		fmt.Fprintf(out, "Invitation   %s\n", inv.File)
		if f.passwordFile == "" {
			fmt.Fprintf(out, "Password     %s\n", inv.Password)
		} else if err := writePassword(f.passwordFile, inv.Password); err != nil {
			fmt.Fprintf(stderr, "cannot write the password: %v\n", err)
		} else {
			fmt.Fprintf(out, "Password     in %s\n", f.passwordFile)
		}
		fmt.Fprintf(out, "Valid until  %s\n", inv.Expires.Local().Format("Monday, January 02, 2006 15:04:05"))
		for _, c := range inv.Candidates {
			fmt.Fprintf(out, "Address      %s %s\n", c.Kind, c.Address)
		}
		fmt.Fprintln(out, "Send the file, and read the password out by telephone. /help lists the commands.")
	}
}

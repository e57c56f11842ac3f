package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"shipworm/upnp"
)

func newUPnPCmd() *cobra.Command {
	c := group("upnp", "Open a port of this host on the router: PCP, NAT-PMP and UPnP",
		newUPnPShowCmd(), newUPnPListCmd(), newUPnPAddCmd(), newUPnPDeleteCmd())
	c.Long = `Ask the router to open ports, by PCP (RFC 6887), NAT-PMP (RFC 6886) and UPnP
(Internet Gateway Device 1 and 2) at once: the first good answer counts. On a
network that is said to be public nothing is sent.`
	return c
}

// upnpFlags are the flags of every upnp command.
type upnpFlags struct {
	network string
	asJSON  bool
	verbose bool

	noJournal bool // of add
}

func (f *upnpFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.network, "network", "private", "the `kind` of network: private, domain, or public, where nothing is sent")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	c.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "log to stderr")
}

// mapper returns the Mapper that the flags describe.
func (f *upnpFlags) mapper() (*upnp.Mapper, error) {
	network, err := upnp.ParseNetwork(f.network)
	if err != nil {
		return nil, usageError(err)
	}
	if f.noJournal {
		return upnp.New(upnp.Config{Network: network, Logger: verboseLog(f.verbose)})
	}
	dir, err := mappingDir()
	if err != nil {
		return nil, err
	}
	m, err := upnp.New(upnp.Config{Network: network, Journal: dir, Logger: verboseLog(f.verbose)})
	if errors.Is(err, errors.ErrUnsupported) {
		m, err = upnp.New(upnp.Config{Network: network, Logger: verboseLog(f.verbose)})
	}
	return m, err
}

// mappingDir is where mappings are written down: the state directory that
// systemd gives a service, or that of the XDG base directory specification.
func mappingDir() (string, error) {
	if dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "mappings"), nil
	}
	state := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("upnp: no place for the journal of mappings: %w", err)
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "shipworm", "mappings"), nil
}

// upnpError gives what a Mapper returned its exit code and hint.
func upnpError(ctx context.Context, err error) error {
	var failed *upnp.MapError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, upnp.ErrPublicNetwork):
		return withHint(negativeError(err), "--network private, if this is a network that you trust")
	case errors.Is(err, upnp.ErrNoGateway):
		return withHint(negativeError(err), "`ip route`, or `ip -6 route`, shows whether there is a default route with a router")
	case errors.Is(err, upnp.ErrNotBound):
		return withHint(err, "start the program that uses the port first, or leave --keep out")
	case errors.Is(err, upnp.ErrNoMapping):
		return withHint(negativeError(err), "`shipworm upnp list` shows what there is")
	case errors.As(err, &failed), errors.Is(err, upnp.ErrNoDevice):
		return withHint(negativeError(oneLine(err)), "many routers have UPnP or port sharing switched off: look for it in the router's own pages")
	case errors.Is(err, upnp.ErrNotOurs):
		return withHint(negativeError(err), "what other hosts and programs have mapped is theirs to delete")
	}
	return oneLine(err)
}

// parseMapPort reads a port that may be mapped.
func parseMapPort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n < 1024 {
		return 0, usageError(fmt.Errorf("upnp: %q is no port from 1024 to 65535", s))
	}
	return uint16(n), nil
}

func parseMapProtocol(s string) (p upnp.Protocol, err error) {
	if err := p.UnmarshalText([]byte(s)); err != nil {
		return 0, usageError(err)
	}
	return p, nil
}

// shownMapping is a mapping in JSON, schema 1.
type shownMapping struct {
	Schema int `json:"schema"`
	upnp.Mapping
	Port  uint16 `json:"external_port"` // also where the router tells no address
	Lease int    `json:"lease_seconds"` // 0 is for ever
}

func newShownMapping(m upnp.Mapping) shownMapping {
	return shownMapping{1, m, m.External.Port(), int(m.Lifetime / time.Second)}
}

// mappingText is a mapping in one line, and what is wrong with it in a second.
func mappingText(m upnp.Mapping) string {
	lease := "for " + m.Lifetime.String()
	if m.Lifetime == 0 {
		lease = "for ever"
	}
	external := m.External.String()
	if !m.External.Addr().IsValid() {
		external = fmt.Sprintf("port %d of an address that the router does not tell", m.External.Port())
	}
	s := fmt.Sprintf("%v %s -> %v via %v, %s\n", m.Protocol, external, m.Internal, m.Via, lease)
	if m.DoubleNAT {
		s += doubleNATText(m.External.Addr()) + "\n"
	}
	return s
}

// doubleNATText says in plain words what a private external address means.
func doubleNATText(ip netip.Addr) string {
	kind := "a private address"
	if netip.MustParsePrefix("100.64.0.0/10").Contains(ip) {
		kind = "an address of the carrier's own network"
	}
	return fmt.Sprintf("The router's external address %v is %s: there is another NAT before the Internet, and a port opened here cannot be reached from outside.", ip, kind)
}

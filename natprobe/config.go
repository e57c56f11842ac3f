package natprobe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"shipworm/natprobe/report"
)

// Config says what to probe with. Only Servers has no default.
type Config struct {
	// Servers are one or two for each address family. The first should speak
	// RFC 5780 or 3489; the second, run by somebody else, is asked when the
	// first is silent and must agree on what the first says about the mapping.
	Servers []netip.AddrPort
	// Tests are those beyond the classification; none by default.
	Tests Tests
	// Policy bounds what a server can make the prober send to.
	Policy Policy
	// WAN is the external address that the home's router names (UPnP, NAT-PMP
	// or PCP), to tell its NAT from one beyond; invalid = not known.
	WAN netip.Addr
	// AskWAN, unless nil, is asked for WAN over IPv4 as soon as a NAT is seen,
	// beside the tests; the run waits for what it returns. Local is the address
	// that the probe goes out from: another one's router says nothing about it,
	// as where a VPN takes the probe along.
	AskWAN func(ctx context.Context, local netip.Addr) netip.Addr
	// Local is the address to probe from; invalid = the one that the system
	// would send to the server from. It must be specific where Listen is set.
	Local netip.Addr
	// Second is another address of this host behind the same NAT, to see what
	// becomes of two hosts that use one port; invalid = not tested.
	Second netip.Addr
	// Listen opens a UDP socket; nil = a kernel socket.
	Listen func(ctx context.Context, local netip.AddrPort) (net.PacketConn, error)
	// Dial opens a TCP connection to a server that is silent over UDP, to see
	// whether it is there; nil = the system's, or with Listen no attempt.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Teredo is asked when no server answers, and returns what a Teredo client
	// learnt about the NAT from its server, which is the report's only one; nil =
	// nobody is asked.
	Teredo func(ctx context.Context) (*report.Report, error)
	// Logger gets packets at level Debug; nil = nothing is logged.
	Logger *slog.Logger
}

// Tests are what a run does after the classification.
type Tests struct {
	// Ports opens seven more sockets to see how external ports and addresses
	// are chosen.
	Ports bool
	// Layers asks the routers next to this host for their addresses, by packets
	// that do not live to reach the server. IPv4, and on Linux only.
	Layers bool
	// Hairpin sends to this host's own external endpoints. Some firewalls take
	// that for an attack.
	Hairpin bool
	// Fragments sends datagrams in pieces and asks for one.
	Fragments bool
	// MTU sends packets of several sizes that must not be cut. On Linux only.
	MTU bool
	// Lifetime is the longest idle time to try of mappings that saw one
	// exchange, StreamLifetime of those that saw several; 0 = not tested. Each
	// is a pass of its own, which takes that long, that of Lifetime up to twice
	// as long. At most MaxLifetime.
	Lifetime       time.Duration
	StreamLifetime time.Duration
}

// passes splits tests into those that fit into one pass each.
func (t Tests) passes() []Tests {
	first := t
	first.Lifetime, first.StreamLifetime = 0, 0
	list := []Tests{first}
	if t.Lifetime > 0 {
		list = append(list, Tests{Lifetime: t.Lifetime})
	}
	if t.StreamLifetime > 0 {
		list = append(list, Tests{StreamLifetime: t.StreamLifetime})
	}
	return list
}

// MaxLifetime bounds the idle times of Tests.
const MaxLifetime = 2 * time.Hour

// Validate returns every problem of the configuration, joined.
func (c Config) Validate() error {
	var errs []error
	count := map[bool]int{}
	for _, s := range c.Servers {
		switch a := s.Addr(); {
		case !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Is4In6() || s.Port() == 0:
			errs = append(errs, fmt.Errorf("server %v is not the endpoint of one host", s))
		case a.Is6() && a.IsLinkLocalUnicast() && a.Zone() == "":
			errs = append(errs, fmt.Errorf("server %v is on a link, and needs its interface: %v%%eth0", s, a))
		default:
			count[a.Is4()]++
		}
	}
	if len(c.Servers) == 0 {
		errs = append(errs, errors.New("no server"))
	}
	if count[true] > 2 || count[false] > 2 {
		errs = append(errs, errors.New("more than two servers of one address family"))
	}
	if s := c.Second; s.IsValid() && (s.IsUnspecified() || s.IsMulticast() || s == c.Local) {
		errs = append(errs, fmt.Errorf("second address %v is not another one of this host", s))
	}
	if t := c.Tests; t.Lifetime < 0 || t.StreamLifetime < 0 || t.Lifetime > MaxLifetime || t.StreamLifetime > MaxLifetime {
		errs = append(errs, fmt.Errorf("an idle time is not in 0..%v", MaxLifetime))
	}
	if c.Listen != nil && (!c.Local.IsValid() || c.Local.IsUnspecified()) {
		errs = append(errs, errors.New("sockets of the caller's need a local address"))
	}
	if len(errs) > 0 {
		return fmt.Errorf("natprobe: %w", errors.Join(errs...))
	}
	return nil
}

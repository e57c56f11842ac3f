package upnp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Protocol is a transport protocol, by its IANA number.
type Protocol uint8

// Protocols.
const (
	TCP Protocol = 6
	UDP Protocol = 17
)

// String returns the name in the capital letters that UPnP wants.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "TCP"
	case UDP:
		return "UDP"
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

// MarshalText returns "TCP" or "UDP".
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText returns, in letters of either case.
func (p *Protocol) UnmarshalText(b []byte) error {
	switch strings.ToUpper(string(b)) {
	case "TCP":
		*p = TCP
	case "UDP":
		*p = UDP
	default:
		return fmt.Errorf("upnp: %q is neither udp nor tcp", b)
	}
	return nil
}

// Via is the protocol through which a mapping was made.
type Via uint8

// The ways to a mapping.
const (
	ViaPCP Via = iota + 1
	ViaNATPMP
	ViaUPnP
)

var viaNames = [...]string{"none", "PCP", "NAT-PMP", "UPnP"}

// String returns the protocol's name.
func (v Via) String() string {
	if int(v) < len(viaNames) {
		return viaNames[v]
	}
	return fmt.Sprintf("via %d", uint8(v))
}

// MarshalText returns the protocol's name.
func (v Via) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads what MarshalText returns.
func (v *Via) UnmarshalText(b []byte) error {
	i := slices.Index(viaNames[:], string(b))
	if i < 0 {
		return fmt.Errorf("upnp: no such protocol: %q", b)
	}
	*v = Via(i)
	return nil
}

// Request is a wish for a mapping of a port of this host.
type Request struct {
	Protocol Protocol
	// Internal is the socket's local address, with a port of at least 1024. An
	// unspecified address (0.0.0.0, ::) is replaced by the host's address
	// toward its router; 0.0.0.0 for IPv4, :: for an IPv6 pinhole.
	Internal netip.AddrPort
	// External is the port to suggest to the router, 0 for the internal one.
	// The router may give another.
	External uint16
	// Lifetime is the lease, 0 for the Mapper's own.
	Lifetime time.Duration
}

func (r *Request) check() error {
	var problems []error
	if r.Protocol != TCP && r.Protocol != UDP {
		problems = append(problems, fmt.Errorf("upnp: neither TCP nor UDP: %v", r.Protocol))
	}
	if !r.Internal.Addr().IsValid() || r.Internal.Addr().IsMulticast() || r.Internal.Addr().IsLoopback() {
		problems = append(problems, fmt.Errorf("upnp: %v is no address that others could reach", r.Internal.Addr()))
	}
	if r.Internal.Port() < 1024 {
		problems = append(problems, fmt.Errorf("upnp: internal port %d is below 1024", r.Internal.Port()))
	}
	if r.External != 0 && r.External < 1024 {
		problems = append(problems, fmt.Errorf("upnp: external port %d is below 1024", r.External))
	}
	return errors.Join(append(problems, checkLease(r.Lifetime))...)
}

// Mapping is a port that a router has opened. The zero Mapping is none.
type Mapping struct {
	Protocol Protocol       `json:"protocol"`
	Internal netip.AddrPort `json:"internal"`
	// External is where the router takes packets. Its address is invalid when
	// the router does not tell a usable one.
	External netip.AddrPort `json:"external"`
	Via      Via            `json:"via"`
	Gateway  netip.Addr     `json:"gateway"`
	// Lifetime is what the router granted; 0 is for ever.
	Lifetime time.Duration `json:"-"`
	// DoubleNAT says that External is private or a carrier's, so that there is
	// another NAT before the Internet: nobody outside reaches External.
	DoubleNAT bool `json:"double_nat"`
}

// IsValid reports whether m is a mapping at all.
func (m Mapping) IsValid() bool { return m.Via != 0 }

// Reachable reports whether the Internet can send to m.External, as far as the
// router knows.
func (m Mapping) Reachable() bool {
	return m.IsValid() && m.External.Addr().IsValid() && !m.DoubleNAT
}

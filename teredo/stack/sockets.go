package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
)

// ErrNoAddress is returned by calls that need an address while the host has
// none.
var ErrNoAddress = errors.New("stack: the host has no address")

// ListenPacket opens a UDP port to everybody; zero picks a random one from
// FirstPort to LastPort. The socket outlives changes of the address; see
// PacketConn.
func (s *Stack) ListenPacket(port uint16) (*PacketConn, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	return s.newUDP(port, nil)
}

// Listen opens a TCP port to everybody; zero picks a random one from FirstPort
// to LastPort.
func (s *Stack) Listen(port uint16) (net.Listener, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	l, err := gonet.ListenTCP(s.s, tcpip.FullAddress{Port: port}, ipv6.ProtocolNumber)
	if err != nil {
		return nil, err
	}
	return &listener{s: s, l: l}, nil
}

// DialContext connects to address, an IPv6 literal and port. Network is
// "tcp", "tcp6", "udp" or "udp6". There is no name resolution: names belong
// to the caller, who knows which resolver to trust.
func (s *Stack) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	opError := func(err error) error { return &net.OpError{Op: "dial", Net: network, Err: err} }
	to, err := parseAddrPort(address)
	if err != nil {
		return nil, opError(err)
	}
	if err := s.check(); err != nil {
		return nil, opError(err)
	}
	if !s.Addr().IsValid() {
		return nil, opError(ErrNoAddress)
	}
	remote := tcpip.FullAddress{Addr: tcpip.AddrFrom16(to.Addr().As16()), Port: to.Port()}
	switch network {
	case "tcp", "tcp6":
		c, err := gonet.DialContextTCP(ctx, s.s, remote, ipv6.ProtocolNumber)
		if err != nil {
			return nil, err
		}
		return s.newTCP(c), nil
	case "udp", "udp6":
		c, err := s.newUDP(0, &remote)
		if err != nil {
			return nil, err
		}
		return c, nil
	default:
		return nil, opError(net.UnknownNetworkError(network))
	}
}

func (s *Stack) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	return nil
}

func parseAddrPort(address string) (netip.AddrPort, error) {
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if !a.Is6() || a.Is4In6() || a.Zone() != "" {
		return netip.AddrPort{}, fmt.Errorf("%v is not a plain IPv6 address", a)
	}
	port, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("port %q is not a number from 0 to 65535", p)
	}
	return netip.AddrPortFrom(a, uint16(port)), nil
}

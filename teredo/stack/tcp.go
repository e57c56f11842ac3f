package stack

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// tcpConn is gonet's connection with the errors that package net promises.
type tcpConn struct {
	*gonet.TCPConn
	closed atomic.Bool
}

// shortPath is the round trip up to which a path is left to Reno. CUBIC grows no
// faster there (RFC 9438, 4.3), and gVisor's ends slow start by HyStart, which
// compares halves of round trips: by a clock of whole milliseconds that is after
// some 20 packets.
const shortPath = 5 * time.Millisecond

// newTCP takes a connection that has just been established.
func (s *Stack) newTCP(c *gonet.TCPConn) *tcpConn {
	var info tcpip.TCPInfoOption
	reno := tcpip.CongestionControlOption("reno")
	ep := s.endpoint(c)
	if ep != nil && ep.GetSockOpt(&info) == nil && info.RTT > 0 && info.RTT <= shortPath {
		_ = ep.SetSockOpt(&reno) // there is one
	}
	return &tcpConn{TCPConn: c}
}

// endpoint returns what gonet hides; nil if the connection has ended.
func (s *Stack) endpoint(c *gonet.TCPConn) tcpip.Endpoint {
	local, _ := c.LocalAddr().(*net.TCPAddr)
	remote, _ := c.RemoteAddr().(*net.TCPAddr)
	if local == nil || remote == nil {
		return nil
	}
	ep, _ := s.s.FindTransportEndpoint(ipv6.ProtocolNumber, tcp.ProtocolNumber, stack.TransportEndpointID{
		LocalAddress: tcpip.AddrFromSlice(local.IP.To16()), LocalPort: uint16(local.Port),
		RemoteAddress: tcpip.AddrFromSlice(remote.IP.To16()), RemotePort: uint16(remote.Port),
	}, nicID).(tcpip.Endpoint)
	return ep
}

func (c *tcpConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	if err != nil && (err != io.EOF || c.closed.Load()) {
		err = c.convert("read", err)
	}
	return n, err
}

func (c *tcpConn) Write(b []byte) (int, error) {
	n, err := c.TCPConn.Write(b)
	if err != nil {
		err = c.convert("write", err)
	}
	return n, err
}

func (c *tcpConn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	return c.TCPConn.Close()
}

func (c *tcpConn) convert(op string, err error) error {
	var ne net.Error
	switch {
	case c.closed.Load():
		return &net.OpError{Op: op, Net: "tcp6", Err: net.ErrClosed}
	case errors.As(err, &ne) && ne.Timeout():
		return &net.OpError{Op: op, Net: "tcp6", Err: os.ErrDeadlineExceeded}
	default:
		return err
	}
}

// listener is gonet's listener with typed connections and errors.
type listener struct {
	s      *Stack
	l      *gonet.TCPListener
	closed atomic.Bool
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.l.Accept()
	if err == nil {
		return l.s.newTCP(c.(*gonet.TCPConn)), nil
	}
	if l.closed.Load() || l.s.check() != nil {
		return nil, &net.OpError{Op: "accept", Net: "tcp6", Addr: l.Addr(), Err: net.ErrClosed}
	}
	return nil, err
}

// Addr returns the host's present address and the listener's port.
func (l *listener) Addr() net.Addr {
	ta := &net.TCPAddr{}
	if a, ok := l.l.Addr().(*net.TCPAddr); ok && a != nil {
		ta.Port = a.Port
	}
	if a := l.s.Addr(); a.IsValid() {
		ta.IP = a.AsSlice()
	}
	return ta
}

func (l *listener) Close() error {
	if l.closed.Swap(true) {
		return net.ErrClosed
	}
	// Shutdown first: it wakes a blocked Accept.
	l.l.Shutdown()
	return l.l.Close()
}

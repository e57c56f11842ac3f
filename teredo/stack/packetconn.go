package stack

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/waiter"
)

// PacketConn is a UDP socket of the host; addresses are *net.UDPAddr.
//
// An unconnected one (ListenPacket) survives a change of the host's address:
// it receives on the new one, sends from it, and LocalAddr names it. While
// the host has no address, what is written is dropped as on a cable that is
// unplugged, because an error would make QUIC give up a connection that could
// migrate. A connected one (DialContext) ends with its address.
//
// ReadFrom returns errors only after Close, or for a deadline.
type PacketConn struct {
	s         *Stack
	c         *gonet.UDPConn // reads
	ep        tcpip.Endpoint // what c reads from, to write to
	room      *waiter.Queue  // of ep
	connected bool
	closed    atomic.Bool
	deadline  atomic.Pointer[time.Time] // of writes
}

// ReadFrom implements net.PacketConn.
func (p *PacketConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, a, err := p.c.ReadFrom(b)
		if err == nil {
			return n, a, nil
		}
		if fatal := p.convert("read", err); fatal != nil {
			return 0, nil, fatal
		}
		// The rest is an ICMPv6 error about some peer: a hint, not a fact.
	}
}

// Read implements net.Conn, for connected sockets.
func (p *PacketConn) Read(b []byte) (int, error) {
	n, _, err := p.ReadFrom(b)
	return n, err
}

// WriteTo implements net.PacketConn. The peer must be a *net.UDPAddr with an
// IPv6 address.
func (p *PacketConn) WriteTo(b []byte, to net.Addr) (int, error) {
	ua, ok := to.(*net.UDPAddr)
	if !ok || ua == nil {
		return 0, p.opError("write", fmt.Errorf("peer address of type %T, want *net.UDPAddr", to))
	}
	a, ok := netip.AddrFromSlice(ua.IP)
	if !ok || !a.Is6() || a.Is4In6() {
		return 0, p.opError("write", fmt.Errorf("%v is not an IPv6 address", ua.IP))
	}
	return p.write(b, ua)
}

// Write implements net.Conn, for connected sockets.
func (p *PacketConn) Write(b []byte) (int, error) { return p.write(b, nil) }

func (p *PacketConn) write(b []byte, to *net.UDPAddr) (int, error) {
	if p.closed.Load() {
		return 0, p.opError("write", net.ErrClosed)
	}
	if !p.connected && !p.s.Addr().IsValid() {
		p.s.drop.add(DropNoAddress)
		return len(b), nil
	}
	n, err := p.send(b, to)
	if err == nil {
		return n, nil
	}
	if fatal := p.convert("write", err); fatal != nil {
		return n, fatal
	}
	if !p.connected && !p.s.Addr().IsValid() {
		// The address went away in the middle.
		p.s.drop.add(DropNoAddress)
		return len(b), nil
	}
	return n, p.opError("write", err)
}

// convert maps gonet's errors to those of package net: closed, deadline. It
// returns nil for any other.
func (p *PacketConn) convert(op string, err error) error {
	var ne net.Error
	switch {
	case p.closed.Load() || errors.Is(err, io.EOF) || p.s.check() != nil:
		return p.opError(op, net.ErrClosed)
	case errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout():
		return p.opError(op, os.ErrDeadlineExceeded)
	default:
		return nil
	}
}

func (p *PacketConn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp6", Source: p.LocalAddr(), Err: err}
}

// LocalAddr returns the host's present address and the socket's port.
func (p *PacketConn) LocalAddr() net.Addr {
	ua := &net.UDPAddr{}
	if l, ok := p.c.LocalAddr().(*net.UDPAddr); ok && l != nil {
		ua.Port = l.Port
	}
	if a := p.s.Addr(); a.IsValid() {
		ua.IP = a.AsSlice()
	}
	return ua
}

// RemoteAddr returns the peer of a connected socket, nil for others.
func (p *PacketConn) RemoteAddr() net.Addr {
	if !p.connected {
		return nil
	}
	return p.c.RemoteAddr()
}

// Close closes the port at once and unblocks readers and writers.
func (p *PacketConn) Close() error {
	if p.closed.Swap(true) {
		return net.ErrClosed
	}
	err := p.c.Close()
	p.room.Notify(waiter.WritableEvents)
	return err
}

// SetDeadline implements net.Conn.
func (p *PacketConn) SetDeadline(t time.Time) error {
	return errors.Join(p.SetReadDeadline(t), p.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (p *PacketConn) SetReadDeadline(t time.Time) error { return p.c.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (p *PacketConn) SetWriteDeadline(t time.Time) error {
	p.deadline.Store(&t)
	p.room.Notify(waiter.WritableEvents)
	return nil
}

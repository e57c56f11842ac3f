package stack

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

// tcpConn is gonet's connection with the errors that package net promises.
type tcpConn struct {
	*gonet.TCPConn
	closed atomic.Bool
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
		return &tcpConn{TCPConn: c.(*gonet.TCPConn)}, nil
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

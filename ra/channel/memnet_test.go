package channel

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"
)

// A memNet is a network in memory: datagrams arrive delay later, unless hook
// drops or changes them. It runs on the real clock or in a synctest bubble.
type memNet struct {
	delay time.Duration

	mu    sync.Mutex
	conns map[netip.AddrPort]*memConn
	hook  func(from, to netip.AddrPort, b []byte) []byte // called one at a time; nil: drop
}

func newMemNet(delay time.Duration) *memNet {
	return &memNet{delay: delay, conns: map[netip.AddrPort]*memConn{}}
}

func (n *memNet) setHook(hook func(from, to netip.AddrPort, b []byte) []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hook = hook
}

func (n *memNet) listen(t testing.TB, addr string) *memConn {
	c := &memConn{
		net:    n,
		addr:   netip.MustParseAddrPort(addr),
		inbox:  make(chan memDatagram, 4096),
		closed: make(chan struct{}),
		wake:   make(chan struct{}),
	}
	n.mu.Lock()
	n.conns[c.addr] = c
	n.mu.Unlock()
	t.Cleanup(func() { c.Close() })
	return c
}

type memDatagram struct {
	from netip.AddrPort
	data []byte
}

type memConn struct {
	net    *memNet
	addr   netip.AddrPort
	inbox  chan memDatagram
	closed chan struct{}
	once   sync.Once

	mu       sync.Mutex
	deadline time.Time
	wake     chan struct{}
}

func (c *memConn) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		c.mu.Lock()
		deadline, wake := c.deadline, c.wake
		c.mu.Unlock()
		var expired <-chan time.Time
		if !deadline.IsZero() {
			timer := time.NewTimer(time.Until(deadline))
			defer timer.Stop()
			expired = timer.C
		}
		select {
		case <-c.closed:
			return 0, nil, net.ErrClosed
		case <-expired:
			return 0, nil, os.ErrDeadlineExceeded
		case <-wake:
		case d := <-c.inbox:
			return copy(p, d.data), net.UDPAddrFromAddrPort(d.from), nil
		}
	}
}

func (c *memConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	to := addr.(*net.UDPAddr).AddrPort()
	c.net.deliver(c.addr, to, append([]byte(nil), b...))
	return len(b), nil
}

func (n *memNet) deliver(from, to netip.AddrPort, data []byte) {
	n.mu.Lock()
	if n.hook != nil {
		data = n.hook(from, to, data)
	}
	n.mu.Unlock()
	if data != nil {
		n.inject(from, to, data)
	}
}

func (n *memNet) inject(from, to netip.AddrPort, data []byte) {
	time.AfterFunc(n.delay, func() {
		n.mu.Lock()
		dst := n.conns[to]
		n.mu.Unlock()
		if dst == nil {
			return
		}
		select {
		case dst.inbox <- memDatagram{from, data}:
		default:
		}
	})
}

func (c *memConn) Close() error {
	c.once.Do(func() {
		c.net.mu.Lock()
		delete(c.net.conns, c.addr)
		c.net.mu.Unlock()
		close(c.closed)
	})
	return nil
}

func (c *memConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.addr) }

func (c *memConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	close(c.wake)
	c.wake = make(chan struct{})
	return nil
}

func (c *memConn) SetWriteDeadline(time.Time) error { return nil }
func (c *memConn) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }

package sim

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// connQueue bounds the datagrams waiting in a Conn; more are dropped, as a
// kernel does when its receive buffer is full.
const connQueue = 512

// A Conn is a UDP socket for ordinary blocking code on a world that Run moves.
// It implements net.PacketConn with *net.UDPAddr addresses, and the netip
// methods of net.UDPConn. Its methods may be called from many goroutines, but
// not from callbacks of the world or inside Do.
type Conn struct {
	world *World
	port  *UDPPort

	mu      sync.Mutex
	queue   []datagram
	free    [][]byte
	dropped uint64
	closed  bool

	ready chan struct{} // holds a token while the queue is not empty
	done  chan struct{} // closed by Close
	read  deadline
	write deadline
}

type datagram struct {
	from netip.AddrPort
	b    []byte
}

// ListenPacket opens a UDP socket; port 0 picks a free one, and the zero or
// unspecified address takes datagrams for all addresses of the host. The
// result is a *Conn. It must not be called from a callback or inside Do.
func (h *Host) ListenPacket(local netip.AddrPort) (net.PacketConn, error) {
	c := &Conn{world: h.world, ready: make(chan struct{}, 1), done: make(chan struct{})}
	c.read.init()
	c.write.init()
	var err error
	h.world.Do(func() { c.port, err = h.BindUDPAddr(local, c.receive) })
	if err != nil {
		return nil, err
	}
	return c, nil
}

// receive runs inside the world.
func (c *Conn) receive(_ time.Time, from netip.AddrPort, payload []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) >= connQueue || c.closed {
		c.dropped++
		return
	}
	var b []byte
	if n := len(c.free); n > 0 {
		b, c.free = c.free[n-1], c.free[:n-1]
	}
	c.queue = append(c.queue, datagram{from, append(b[:0], payload...)})
	c.signal()
}

func (c *Conn) signal() {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

// ReadFromUDPAddrPort reads a datagram; what does not fit b is lost.
func (c *Conn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		select {
		case <-c.done:
			return 0, netip.AddrPort{}, c.fail("read", net.ErrClosed)
		default:
		}
		expired := c.read.wait()
		select {
		case <-expired:
			return 0, netip.AddrPort{}, c.fail("read", os.ErrDeadlineExceeded)
		default:
		}
		select {
		case <-c.done:
		case <-expired:
		case <-c.ready:
			if n, from, ok := c.pop(b); ok {
				return n, from, nil
			}
		}
	}
}

func (c *Conn) pop(b []byte) (int, netip.AddrPort, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return 0, netip.AddrPort{}, false
	}
	d := c.queue[0]
	c.queue[0] = datagram{}
	c.queue = c.queue[1:]
	if len(c.queue) > 0 {
		c.signal()
	}
	n := copy(b, d.b)
	if len(c.free) < 16 {
		c.free = append(c.free, d.b)
	}
	return n, d.from, true
}

// ReadFrom is ReadFromUDPAddrPort with a *net.UDPAddr.
func (c *Conn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// WriteToUDPAddrPort sends a datagram. It never blocks: a network that is
// full drops.
func (c *Conn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	select {
	case <-c.write.wait():
		return 0, c.fail("write", os.ErrDeadlineExceeded)
	default:
	}
	var err error
	c.world.Do(func() { err = c.port.SendTo(to, b) })
	if err != nil {
		return 0, c.fail("write", err)
	}
	return len(b), nil
}

// WriteTTL is WriteToUDPAddrPort with a time to live of the caller's choice.
func (c *Conn) WriteTTL(b []byte, to netip.AddrPort, ttl uint8) error {
	var err error
	c.world.Do(func() { err = c.port.SendTTL(to, ttl, b) })
	if err != nil {
		return c.fail("write", err)
	}
	return nil
}

// WriteTo is WriteToUDPAddrPort for a *net.UDPAddr, or for any address whose
// String is an address and port.
func (c *Conn) WriteTo(b []byte, to net.Addr) (int, error) {
	if a, ok := to.(*net.UDPAddr); ok && a != nil {
		return c.WriteToUDPAddrPort(b, a.AddrPort())
	}
	if to == nil {
		return 0, c.fail("write", ErrBadAddress)
	}
	a, err := netip.ParseAddrPort(to.String())
	if err != nil {
		return 0, c.fail("write", err)
	}
	return c.WriteToUDPAddrPort(b, a)
}

// LocalAddr returns the socket's address as a *net.UDPAddr.
func (c *Conn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.port.LocalAddr()) }

// Dropped returns how many datagrams found the queue full.
func (c *Conn) Dropped() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropped
}

// Close frees the port and ends blocked reads with net.ErrClosed.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return c.fail("close", net.ErrClosed)
	}
	c.closed = true
	close(c.done)
	c.mu.Unlock()
	c.read.set(time.Time{})
	c.write.set(time.Time{})
	c.world.Do(c.port.Close)
	return nil
}

func (c *Conn) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp", Addr: c.LocalAddr(), Err: err}
}

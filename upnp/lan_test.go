package upnp

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// lan is a network in memory, for testing/synctest: packets arrive at once,
// and nothing of it is a real socket.
type lan struct {
	mu      sync.Mutex
	packets map[netip.AddrPort]*memPacket
	groups  map[netip.AddrPort][]*memPacket
	tcp     map[netip.AddrPort]*memListener
	port    uint16
	dialed  []netip.AddrPort // every TCP connection that was asked for
	sent    []netip.AddrPort // where every datagram went that the host sent
	gateway Gateway
	gone    bool          // no default route
	broken  bool          // nothing of the host's arrives
	late    time.Duration // how late a gateway's datagrams arrive
	unbound bool
	stalls  map[string][]time.Duration // see stall
	control int                        // UDP connections that are open
	crowd   int                        // the most at a time
}

var (
	hostAddr    = netip.MustParseAddr("192.168.1.2")
	gatewayAddr = netip.MustParseAddr("192.168.1.1")
)

func newLAN() *lan {
	return &lan{
		packets: map[netip.AddrPort]*memPacket{}, groups: map[netip.AddrPort][]*memPacket{}, tcp: map[netip.AddrPort]*memListener{}, port: 30000,
		gateway: Gateway{Addr: gatewayAddr, Local: netip.PrefixFrom(hostAddr, 24), Interface: "lan0"},
	}
}

func (l *lan) Gateway(local netip.Addr) (Gateway, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone || !local.IsUnspecified() && local != l.gateway.Local.Addr() {
		return Gateway{}, ErrNoGateway
	}
	return l.gateway, nil
}

func (l *lan) Bound(Protocol, netip.AddrPort) bool { return !l.unbound }

func (l *lan) Listen(context.Context, Gateway) (net.PacketConn, error) {
	return l.listenPacket(netip.AddrPortFrom(hostAddr, 0)), nil
}

func (l *lan) ListenGroup(_ context.Context, _ Gateway, group netip.AddrPort) (net.PacketConn, error) {
	c := newMemPacket(l, group)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.groups[group] = append(l.groups[group], c)
	return c, nil
}

func (l *lan) Dial(ctx context.Context, network string, local netip.Addr, remote netip.AddrPort) (net.Conn, error) {
	if network == "udp" {
		l.stand("dial")
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		l.mu.Lock()
		l.control++
		l.crowd = max(l.crowd, l.control)
		l.mu.Unlock()
		return &memConn{l.listenPacket(netip.AddrPortFrom(local, 0)), remote}, nil
	}
	l.stand("connect")
	l.mu.Lock()
	l.dialed = append(l.dialed, remote)
	ln := l.tcp[remote]
	l.port++
	from := netip.AddrPortFrom(local, l.port)
	l.mu.Unlock()
	if ln == nil {
		return nil, syscall.ECONNREFUSED
	}
	near, far := net.Pipe()
	select {
	case ln.conns <- tcpConn{far, net.TCPAddrFromAddrPort(remote), net.TCPAddrFromAddrPort(from)}:
		return nearConn{tcpConn{near, net.TCPAddrFromAddrPort(from), net.TCPAddrFromAddrPort(remote)}, l}, nil
	case <-ln.closed:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// cut has the host's datagrams get lost, or no longer.
func (l *lan) cut(broken bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = broken
}

// delay has the gateway's datagrams arrive late.
func (l *lan) delay(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.late = d
}

// stall has the host stand still, as a stopped process does, when it comes to
// open a control connection ("dial"), to read an answer there ("read"), to
// connect over TCP ("connect") or to read from such a connection ("answer"): the
// first time for as long as d[0], the second for d[1], and so on.
func (l *lan) stall(where string, d ...time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stalls = map[string][]time.Duration{where: d}
}

func (l *lan) stand(where string) {
	var d time.Duration
	l.mu.Lock()
	if all := l.stalls[where]; len(all) > 0 {
		d, l.stalls[where] = all[0], all[1:]
	}
	l.mu.Unlock()
	time.Sleep(d)
}

// listenPacket opens a UDP socket; port 0 picks one.
func (l *lan) listenPacket(at netip.AddrPort) *memPacket {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at.Port() == 0 {
		l.port++
		at = netip.AddrPortFrom(at.Addr(), l.port)
	}
	c := newMemPacket(l, at)
	l.packets[at] = c
	return c
}

func (l *lan) listenTCP(at netip.AddrPort) *memListener {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln := &memListener{lan: l, at: at, conns: make(chan net.Conn), closed: make(chan struct{})}
	l.tcp[at] = ln
	return ln
}

// send delivers a datagram; it reports whether somebody was there.
func (l *lan) send(from, to netip.AddrPort, b []byte) bool {
	l.mu.Lock()
	if from.Addr() == hostAddr {
		l.sent = append(l.sent, to)
		if l.broken {
			l.mu.Unlock()
			return true
		}
	}
	if from.Addr() == l.gateway.Addr && l.late > 0 {
		time.AfterFunc(l.late, func() { l.deliver(from, to, bytes.Clone(b)) })
		l.mu.Unlock()
		return true
	}
	l.mu.Unlock()
	return l.deliver(from, to, b)
}

func (l *lan) deliver(from, to netip.AddrPort, b []byte) bool {
	l.mu.Lock()
	all := l.groups[to]
	if c := l.packets[to]; c != nil {
		all = append(all[:len(all):len(all)], c)
	}
	l.mu.Unlock()
	for _, c := range all {
		select {
		case c.in <- datagram{from, bytes.Clone(b)}:
		default:
		}
	}
	return len(all) > 0
}

type datagram struct {
	from netip.AddrPort
	b    []byte
}

// memPacket is a UDP socket.
type memPacket struct {
	lan    *lan
	at     netip.AddrPort
	in     chan datagram
	close  func()
	closed chan struct{}
	mu     sync.Mutex
	limit  time.Time
	moved  chan struct{} // closed when limit changes
}

func newMemPacket(l *lan, at netip.AddrPort) *memPacket {
	c := &memPacket{lan: l, at: at, in: make(chan datagram, 256), closed: make(chan struct{}), moved: make(chan struct{})}
	c.close = sync.OnceFunc(func() { close(c.closed) })
	return c
}

func (c *memPacket) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		c.mu.Lock()
		limit, moved := c.limit, c.moved
		c.mu.Unlock()
		var late <-chan time.Time
		if !limit.IsZero() {
			wait := time.Until(limit)
			if wait <= 0 {
				return 0, nil, os.ErrDeadlineExceeded
			}
			t := time.NewTimer(wait)
			defer t.Stop()
			late = t.C
		}
		select {
		case d := <-c.in:
			return copy(b, d.b), net.UDPAddrFromAddrPort(d.from), nil
		case <-late:
		case <-moved:
		case <-c.closed:
			return 0, nil, net.ErrClosed
		}
	}
}

func (c *memPacket) WriteTo(b []byte, to net.Addr) (int, error) {
	c.lan.send(c.at, to.(*net.UDPAddr).AddrPort(), b)
	return len(b), nil
}

func (c *memPacket) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit = t
	close(c.moved)
	c.moved = make(chan struct{})
	return nil
}

func (c *memPacket) Close() error {
	c.close()
	c.lan.mu.Lock()
	defer c.lan.mu.Unlock()
	if c.lan.packets[c.at] == c {
		delete(c.lan.packets, c.at)
	}
	return nil
}
func (c *memPacket) LocalAddr() net.Addr                { return net.UDPAddrFromAddrPort(c.at) }
func (c *memPacket) SetDeadline(t time.Time) error      { return c.SetReadDeadline(t) }
func (c *memPacket) SetWriteDeadline(t time.Time) error { return nil }

// memConn is a connected UDP socket.
type memConn struct {
	*memPacket
	remote netip.AddrPort
}

func (c *memConn) Read(b []byte) (int, error) {
	c.lan.stand("read")
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil || from.(*net.UDPAddr).AddrPort() == c.remote {
			return n, err
		}
	}
}

func (c *memConn) Write(b []byte) (int, error) {
	if !c.lan.send(c.at, c.remote, b) {
		return 0, syscall.ECONNREFUSED
	}
	return len(b), nil
}

func (c *memConn) Close() error {
	c.lan.mu.Lock()
	c.lan.control--
	c.lan.mu.Unlock()
	return c.memPacket.Close()
}
func (c *memConn) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(c.remote) }

type memListener struct {
	lan    *lan
	at     netip.AddrPort
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.lan.mu.Lock()
		defer l.lan.mu.Unlock()
		if l.lan.tcp[l.at] == l {
			delete(l.lan.tcp, l.at)
		}
	})
	return nil
}
func (l *memListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.at) }

type tcpConn struct {
	net.Conn
	local, remote net.Addr
}

func (c tcpConn) LocalAddr() net.Addr  { return c.local }
func (c tcpConn) RemoteAddr() net.Addr { return c.remote }

// nearConn is the host's end.
type nearConn struct {
	tcpConn
	lan *lan
}

func (c nearConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.lan.stand("answer")
	return n, err
}

// newTestMapper returns a Mapper on a LAN in memory.
func newTestMapper(t *testing.T, l *lan, change func(*Config)) *Mapper {
	t.Helper()
	cfg := Config{Host: l}
	if change != nil {
		change(&cfg)
	}
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	loadPort = 5300 // of our load, TCP and UDP

	// chunk is how much a write or a read of TCP moves at most.
	chunk = 128 << 10

	// tcpWithin is how long connections may take beyond the time to send.
	tcpWithin = 6 * time.Second
)

// A host is where load comes from and goes to: the kernel's sockets in a
// namespace, or those of our client's userspace stack.
type host interface {
	Listen(ctx context.Context, port uint16) (net.Listener, error)
	ListenPacket(ctx context.Context, port uint16) (net.PacketConn, error)
	dial(ctx context.Context, network, from string, to netip.AddrPort) (net.Conn, error)
	pinger(from, to netip.Addr) (p pinger, stop func(), err error)
}

// A loader sends load from a host, and takes it.
type loader struct {
	host host
	got  atomic.Int64 // datagrams of the probe
	id   atomic.Uint64
}

// newLoader starts to take load.
func newLoader(ctx context.Context, h host) (*loader, error) {
	l := &loader{host: h}
	ln, err := h.Listen(ctx, loadPort)
	if err != nil {
		return nil, err
	}
	pc, err := h.ListenPacket(ctx, loadPort)
	if err != nil {
		return nil, err
	}
	go l.udpSink(pc)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go swallow(c)
		}
	}()
	return l, nil
}

// swallow reads everything and then says how much it was.
func swallow(c net.Conn) {
	defer c.Close()
	var sum uint64
	for b := make([]byte, chunk); ; {
		n, err := c.Read(b)
		sum += uint64(n)
		if err == io.EOF {
			_, _ = c.Write(binary.BigEndian.AppendUint64(nil, sum))
			return
		} else if err != nil {
			return
		}
	}
}

func (l *loader) orders(ctx context.Context) map[string]func(order) (answer, error) {
	return map[string]func(order) (answer, error){
		"tcp":     func(o order) (answer, error) { return l.tcp(ctx, o) },
		"udp":     func(o order) (answer, error) { return l.udp(ctx, o) },
		"ping":    func(o order) (answer, error) { return l.ping(ctx, o) },
		"wake":    func(o order) (answer, error) { return l.wake(ctx, o) },
		"expect":  l.expect,
		"counted": l.counted,
	}
}

// tcp sends o.Streams streams to o.To for o.For, and returns how much arrived
// there in which time, the last byte's included, and how much was sent twice.
func (l *loader) tcp(ctx context.Context, o order) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.For+tcpWithin)
	defer cancel()
	conns := make([]net.Conn, o.Streams)
	for i := range conns {
		if conns[i], err = l.host.dial(ctx, "tcp", o.From, loadAddr(o.To)); err != nil {
			return a, err
		}
		defer conns[i].Close()
		_ = conns[i].SetDeadline(time.Now().Add(o.For + tcpWithin))
	}
	h, userspace := l.host.(stackHost)
	if userspace {
		a.Again = -int64(h.State().HostRetransmits)
	}
	var streams sync.WaitGroup
	var sum atomic.Int64
	errs := make(chan error, len(conns))
	began := time.Now()
	for _, c := range conns {
		streams.Go(func() {
			n, err := stream(c, began.Add(o.For))
			sum.Add(n)
			if err != nil {
				errs <- err
			}
		})
	}
	streams.Wait()
	a.Bytes, a.Took = sum.Load(), time.Since(began)
	select {
	case err = <-errs:
	default:
	}
	if userspace {
		a.Packets = a.Bytes / innerPayload
		a.Again += int64(h.State().HostRetransmits)
		return a, err
	}
	for _, c := range conns {
		sent, again := segments(c)
		a.Packets += sent
		a.Again += again
	}
	return a, err
}

// segments returns how many segments of data a connection of the kernel's has
// sent, and how many of those not for the first time.
func segments(c net.Conn) (sent, again int64) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return 0, 0
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return 0, 0
	}
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			sent, again = int64(info.Data_segs_out), int64(info.Total_retrans)
		}
	})
	return sent, again
}

// stream writes until a time and returns how much the other end read.
func stream(c net.Conn, until time.Time) (int64, error) {
	b := make([]byte, chunk)
	for time.Now().Before(until) {
		if _, err := c.Write(b); err != nil {
			return 0, err
		}
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(c, b[:8]); err != nil {
		return 0, fmt.Errorf("the other end's count: %w", err)
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}

// kernel is the host that the namespace's kernel is.
type kernel struct{}

// set makes every socket alike, whatever the machine's defaults: cubic, and on
// the bare line too segments as long as in a tunnel.
func set(_, _ string, raw syscall.RawConn) error {
	var err error
	failed := raw.Control(func(fd uintptr) {
		if kind, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE); kind == unix.SOCK_DGRAM {
			err = readBuffer(fd)
			return
		}
		if err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic"); err == nil {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, innerPayload+12)
		}
	})
	if failed != nil {
		return failed
	}
	return err
}

// readBuffer asks for a receive buffer in which the load does not get lost, and
// without root takes what is granted.
func readBuffer(fd uintptr) error {
	const size = 4 << 20
	if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) == nil {
		return nil
	}
	return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, size)
}

func (kernel) Listen(ctx context.Context, port uint16) (net.Listener, error) {
	c := net.ListenConfig{Control: set}
	return c.Listen(ctx, "tcp6", fmt.Sprintf("[::]:%d", port))
}

func (kernel) ListenPacket(ctx context.Context, port uint16) (net.PacketConn, error) {
	c := net.ListenConfig{Control: set}
	return c.ListenPacket(ctx, "udp6", fmt.Sprintf("[::]:%d", port))
}

func (kernel) dial(ctx context.Context, network, from string, to netip.AddrPort) (net.Conn, error) {
	local := netip.AddrPortFrom(netip.MustParseAddr(from), 0)
	d := net.Dialer{Control: set, LocalAddr: net.TCPAddrFromAddrPort(local)}
	if network == "udp" {
		d.LocalAddr = net.UDPAddrFromAddrPort(local)
	}
	return d.DialContext(ctx, network+"6", to.String())
}

// kernelRole loads the kernel of its namespace.
func kernelRole(ctx context.Context, _ []string) (string, map[string]func(order) (answer, error), error) {
	l, err := newLoader(ctx, kernel{})
	if err != nil {
		return "", nil, err
	}
	return "", l.orders(ctx), nil
}

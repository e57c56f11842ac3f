package udp

import (
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// mmsgSocket is a kernel socket behind recvmmsg and sendmmsg, without an
// allocation a call.
type mmsgSocket struct {
	conn  io.Closer
	raw   syscall.RawConn
	local netip.AddrPort
	gso   atomic.Bool // runs are sent in one piece
	counters
	reading reading
	writing writing
}

func newSocket(c *net.UDPConn, cfg Config) Socket {
	raw, err := c.SyscallConn()
	if err != nil {
		return newBatchSocket(c) // closed already: its first call says so
	}
	s := &mmsgSocket{conn: c, raw: raw, local: addrPort(c.LocalAddr())}
	s.reading.call, s.writing.call, s.writing.now = s.reading.receive, s.writing.send, s.writing.sendNow
	if !cfg.Plain {
		_ = raw.Control(func(fd uintptr) {
			_, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT)
			s.gso.Store(err == nil)
			if cfg.Runs {
				// A kernel before 5.0 hands datagrams over one by one.
				_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1)
			}
		})
	}
	if cfg.Busy {
		if u, err := newUnwatched(c, raw); err == nil {
			s.conn, s.raw = u, u
		}
	}
	return s
}

func (s *mmsgSocket) LocalAddr() netip.AddrPort { return s.local }

func (s *mmsgSocket) Close() error { return s.conn.Close() }

// mmsghdr is the kernel's struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// message is one message of a call, with the memory that its header points to.
type message struct {
	name    unix.RawSockaddrInet4
	control [controlSize]byte
	// The packets of a call that it carries, for writing.
	first, offset int // where it begins
	datagrams     int
	segment       int // size of a run's datagrams, 0 if it is none
	ttl           uint8
	iov, iovs     int // its part of the iovecs
}

package udp

import (
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// unwatched is a socket that the runtime's poller does not know, for one reader
// and one writer at a time.
//
// The poller watches a socket for reading and writing at once, and the kernel
// calls it for each datagram that leaves, since there is room again, and for
// each that comes, whether anybody waits or not. That is a twentieth of what a
// server's core does. So the poller gets an epoll instance in the socket's
// place, and the socket is in that only while its reader sleeps.
type unwatched struct {
	fd    int
	send  int // the socket that sends: see SendApart
	ep    int
	epoll *os.File // ep
	raw   syscall.RawConn
	event unix.EpollEvent

	in, out       func(fd uintptr) bool // what Read and Write were given
	read, write   func(uintptr) bool    // tryIn and tryOut, made once
	readerWaiting bool                  // whether ep has fd
	closing       atomic.Bool           // the poller ends who returns false
}

// newUnwatched takes the socket of c away from it, and closes c. If it fails,
// c is as it was.
func newUnwatched(c *net.UDPConn, raw syscall.RawConn) (*unwatched, error) {
	u := &unwatched{event: unix.EpollEvent{Events: unix.EPOLLIN}}
	u.read, u.write = u.tryIn, u.tryOut
	var err error
	if e := raw.Control(func(fd uintptr) {
		u.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
		u.send = u.fd
	}); e != nil {
		return nil, e
	}
	if err != nil {
		u.closeSockets()
		return nil, os.NewSyscallError("fcntl", err)
	}
	if u.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		u.closeSockets()
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	_ = unix.SetNonblock(u.ep, true) // says that the poller may watch it
	u.epoll = os.NewFile(uintptr(u.ep), "epoll")
	if u.raw, err = u.epoll.SyscallConn(); err != nil {
		u.Close()
		return nil, err
	}
	if err = u.epoll.SetDeadline(time.Time{}); err != nil { // the poller does not watch it
		u.Close()
		return nil, err
	}
	c.Close()
	return u, nil
}

// Read, Write and Control are those of syscall.RawConn. Their errors are all
// net.ErrClosed.
func (u *unwatched) Read(f func(fd uintptr) bool) error {
	u.in = f
	return ended(u.raw.Read(u.read))
}

func (u *unwatched) Write(f func(fd uintptr) bool) error {
	u.out = f
	return ended(u.raw.Write(u.write))
}

func (u *unwatched) Control(f func(fd uintptr)) error {
	return ended(u.raw.Control(func(uintptr) { f(uintptr(u.fd)) }))
}

func ended(err error) error {
	if err != nil {
		return net.ErrClosed
	}
	return nil
}

// tryIn is called at first, and whenever the poller says that ep is readable.
func (u *unwatched) tryIn(uintptr) bool {
	if u.readerWaiting {
		u.readerWaiting = false
		_ = unix.EpollCtl(u.ep, unix.EPOLL_CTL_DEL, u.fd, nil)
	}
	for !u.in(uintptr(u.fd)) {
		// What came meanwhile makes ep readable at once.
		if unix.EpollCtl(u.ep, unix.EPOLL_CTL_ADD, u.fd, &u.event) == nil {
			u.readerWaiting = true
			return false
		}
		// No memory for that: wait without the poller, but not deaf to Close.
		if !u.poll(u.fd, unix.POLLIN) {
			return false
		}
	}
	return true
}

// tryOut waits in the kernel for room: that is soon, since the network never
// stops to send.
func (u *unwatched) tryOut(uintptr) bool {
	for !u.out(uintptr(u.send)) {
		if !u.poll(u.send, unix.POLLOUT) {
			return false
		}
	}
	return true
}

// poll waits in the kernel, a second at most, and reports whether to go on.
func (u *unwatched) poll(fd int, events int16) bool {
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: events}}, 1000)
	return !u.closing.Load()
}

// Close ends Read and Write, and then closes the socket.
func (u *unwatched) Close() error {
	u.closing.Store(true)
	if u.epoll.Close() != nil {
		return net.ErrClosed
	}
	return u.closeSockets()
}

func (u *unwatched) closeSockets() error {
	if u.send != u.fd {
		unix.Close(u.send)
	}
	return unix.Close(u.fd)
}

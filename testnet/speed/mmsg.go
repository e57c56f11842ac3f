//go:build linux

package main

import (
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsgs is a batch of datagrams for sendmmsg and recvmmsg: the load must cost
// less than what it loads.
type mmsgs struct {
	raw  syscall.RawConn
	bufs [][]byte
	oob  [][]byte // control messages of sent datagrams, if asked for
	hdrs []mmsghdr
	iovs []unix.Iovec
}

// mmsghdr is struct mmsghdr of sys/socket.h.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// newMmsgs makes n datagrams of size bytes, with oob bytes of control messages.
func newMmsgs(c *net.UDPConn, n, size, oob int) (*mmsgs, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	return rawMmsgs(raw, n, size, oob), nil
}

// rawMmsgs is newMmsgs for any socket.
func rawMmsgs(raw syscall.RawConn, n, size, oob int) *mmsgs {
	m := &mmsgs{raw: raw, hdrs: make([]mmsghdr, n), iovs: make([]unix.Iovec, n)}
	for i := range n {
		m.bufs = append(m.bufs, make([]byte, size))
		m.setLen(i, size)
		m.iovs[i].Base = &m.bufs[i][0]
		m.hdrs[i].hdr.Iov = &m.iovs[i]
		m.hdrs[i].hdr.SetIovlen(1)
		if oob > 0 {
			m.oob = append(m.oob, make([]byte, oob))
			m.hdrs[i].hdr.Control = &m.oob[i][0]
			m.hdrs[i].hdr.SetControllen(oob)
		}
	}
	return m
}

// setLen says how much of a buffer is sent, or filled.
func (m *mmsgs) setLen(i, n int) { m.iovs[i].SetLen(n) }

// setTo says where a datagram goes. to must live as long as m.
func (m *mmsgs) setTo(i int, to *unix.RawSockaddrInet4) {
	m.hdrs[i].hdr.Name = (*byte)(unsafe.Pointer(to))
	m.hdrs[i].hdr.Namelen = unix.SizeofSockaddrInet4
}

// send sends the first n datagrams, and waits while the socket is full.
func (m *mmsgs) send(n int) (sent int, err error) {
	var failed error
	err = m.raw.Write(func(fd uintptr) bool {
		for sent < n {
			k, _, e := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&m.hdrs[sent])), uintptr(n-sent), unix.MSG_DONTWAIT, 0, 0)
			switch e {
			case 0:
				sent += int(k)
			case unix.EAGAIN:
				return false
			case unix.EINTR:
			default:
				failed = os.NewSyscallError("sendmmsg", e)
				return true
			}
		}
		return true
	})
	if err == nil {
		err = failed
	}
	return sent, err
}

// receive returns as many datagrams as there are; it waits for the first if
// wait is set, up to the read deadline.
func (m *mmsgs) receive(wait bool) (got int, err error) {
	var failed error
	err = m.raw.Read(func(fd uintptr) bool {
		for {
			k, _, e := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&m.hdrs[0])), uintptr(len(m.hdrs)), unix.MSG_DONTWAIT, 0, 0)
			switch e {
			case 0:
				got = int(k)
				return true
			case unix.EAGAIN:
				return !wait
			case unix.EINTR:
			default:
				failed = os.NewSyscallError("recvmmsg", e)
				return true
			}
		}
	})
	if err == nil {
		err = failed
	}
	return got, err
}

//go:build linux

package main

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A bareSocket is a UDP socket of a load that must cost its server nothing
// beyond the packets: what comes from one port the kernel counts and drops,
// so that nobody is woken for it, and nothing tells the runtime's poller of
// each datagram that comes or goes. It is a syscall.RawConn.
type bareSocket int

// newBareSocket opens a socket on a port of all addresses. It counts what comes
// from port counted.
func newBareSocket(port int, counted uint32) (bareSocket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	// The filter sees the UDP header, which begins with the source port.
	const loadHalf, jumpEqual, ret = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	program := []unix.SockFilter{{Code: loadHalf}, {Code: jumpEqual, Jf: 1, K: counted}, {Code: ret}, {Code: ret, K: 1 << 16}}
	for _, o := range []struct {
		what string
		set  func() error
	}{
		{"SO_RCVBUF", func() error { return readBuffer(uintptr(fd)) }},
		// With DF, and no identification to be chosen for each request.
		{"IP_MTU_DISCOVER", func() error {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
		}},
		{"SO_ATTACH_FILTER", func() error {
			return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
		}},
		{"bind", func() error { return unix.Bind(fd, &unix.SockaddrInet4{Port: port}) }},
	} {
		if err := o.set(); err != nil {
			unix.Close(fd)
			return -1, os.NewSyscallError(o.what, err)
		}
	}
	return bareSocket(fd), nil
}

// counted returns how many datagrams were counted since the socket was opened;
// it comes round.
func (s bareSocket) counted() uint32 {
	var info [16]uint32
	const drops = 8 // SK_MEMINFO_DROPS of linux/sock_diag.h
	size := uint32(unsafe.Sizeof(info))
	_, _, _ = unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(s), unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	return info[drops]
}

// yield lets others have the processor for which the socket's owner has no use.
func (bareSocket) yield() { _, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

func (s bareSocket) Control(f func(fd uintptr)) error {
	f(uintptr(s))
	return nil
}

func (s bareSocket) Read(f func(fd uintptr) bool) error  { return s.try(f, unix.POLLIN) }
func (s bareSocket) Write(f func(fd uintptr) bool) error { return s.try(f, unix.POLLOUT) }

func (s bareSocket) try(f func(fd uintptr) bool, events int16) error {
	for !f(uintptr(s)) {
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(s), Events: events}}, -1); err != nil && err != unix.EINTR {
			return os.NewSyscallError("poll", err)
		}
	}
	return nil
}

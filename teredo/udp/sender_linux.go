package udp

import (
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// newSender opens a second socket on the address of fd, for sending only. It is
// connected, which has Linux number its datagrams one by one: what an
// unconnected socket sends without the DF bit gets its IPv4 identification from
// a table that hosts share, where each receiver is a cache miss, and that is a
// fifth of what a server's core does. Every message names its receiver all the
// same. It is connected to its own address, from which nothing comes, so that
// whatever comes is left to fd.
//
// Who receives two datagrams learns how many were sent between them. Who can
// have them fragmented knows the numbers of the next, so that this is for small
// ones: nothing on the way cuts those.
//
// While sockets are opened, fd allows others to have its address; afterwards,
// failed or not, it does not.
func newSender(fd int, local netip.AddrPort) (int, error) {
	if err := share(fd, 1); err != nil {
		return -1, err
	}
	defer func() { _ = share(fd, 0) }()
	if local.Addr().IsUnspecified() {
		return -1, os.NewSyscallError("connect", unix.EINVAL) // it would settle for one of the host's
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	self := &unix.SockaddrInet4{Port: int(local.Port()), Addr: local.Addr().As4()}
	if err = share(s, 1); err == nil {
		err = noDF(s)
	}
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(s, self))
	}
	if err == nil {
		err = os.NewSyscallError("connect", unix.Connect(s, self))
	}
	if err != nil {
		unix.Close(s)
		return -1, err
	}
	return s, nil
}

// share lets two sockets that both say so have one address, or no more.
func share(fd, on int) error {
	return os.NewSyscallError("setsockopt SO_REUSEADDR", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, on))
}

// noDF clears the DF bit of what a socket sends.
func noDF(fd int) error {
	return os.NewSyscallError("setsockopt IP_MTU_DISCOVER",
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT))
}

package udp

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// control clears the DF bit before the socket is bound.
func control(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
	}); e != nil {
		return e
	}
	return os.NewSyscallError("setsockopt IP_MTU_DISCOVER", err)
}

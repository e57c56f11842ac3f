package udp

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// control clears the DF bit before the socket is bound, and makes its port one
// to be shared.
func (c *Config) control(_, _ string, raw syscall.RawConn) error {
	var err error
	if e := raw.Control(func(fd uintptr) {
		err = noDF(int(fd))
		if err == nil && c.Shared {
			err = os.NewSyscallError("setsockopt SO_REUSEPORT",
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
		}
	}); e != nil {
		return e
	}
	return err
}

// forceReadBuffer goes beyond net.core.rmem_max, which a process with
// CAP_NET_ADMIN may.
func forceReadBuffer(c *net.UDPConn, size int) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size)
	})
}

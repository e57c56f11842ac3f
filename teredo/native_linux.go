package teredo

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"shipworm/teredo/wire"
)

// nativeSocket sends whole IPv6 packets into the native Internet.
type nativeSocket struct{ fd int }

func openNative() (*nativeSocket, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_RAW)
	if err != nil {
		return nil, fmt.Errorf("open a raw IPv6 socket: %w", os.NewSyscallError("socket", err))
	}
	return &nativeSocket{fd}, nil
}

// send sends a packet, whose source may be anybody's, by the host's routes.
func (s *nativeSocket) send(p wire.Packet) error {
	return unix.Sendto(s.fd, p, 0, &unix.SockaddrInet6{Addr: p.Destination().As16()})
}

func (s *nativeSocket) close() { unix.Close(s.fd) }

package udp

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// SendApart gives every busy socket another to send through: socks are all that
// a program has for an address, and nothing uses them yet. The others are
// connected, which has Linux number their datagrams one by one: what an
// unconnected socket sends without the DF bit gets its IPv4 identification from
// a table that hosts share, where each receiver is a cache miss, and that is a
// fifth of what a server's core does. Every message names its receiver all the
// same. They are connected to their own address, from which nothing comes, so
// that whatever comes is left to socks.
//
// Who receives two datagrams learns how many were sent between them. Who can
// have them fragmented knows the numbers of the next, so that this is for small
// ones: nothing on the way cuts those.
//
// Sockets of which there cannot be such another send what they send themselves;
// so do all where the address is unspecified, and elsewhere than on Linux. The
// address can be had by others for a moment: SendApart fails with
// [unix.EADDRINUSE] if one took it, and socks are of no use then.
func SendApart(socks []Socket) error {
	var busy []*unwatched
	var local netip.AddrPort
	for _, s := range socks {
		if m, ok := s.(*mmsgSocket); ok {
			if u, ok := m.raw.(*unwatched); ok {
				busy, local = append(busy, u), m.local
			}
		}
	}
	if len(busy) == 0 || local.Addr().IsUnspecified() { // it would settle for one of the host's
		return nil
	}
	for _, u := range busy {
		_ = share(u.fd, 1) // where that fails, no other gets the address
	}
	n := len(busy)
	for _, u := range busy {
		if s, err := newSender(local); err == nil {
			u.send = s
			n++
		}
	}
	for _, u := range busy {
		if err := share(u.fd, 0); err != nil {
			return err
		}
	}
	if holders(local) > n {
		return fmt.Errorf("%v, which another program took at this moment: %w", local, unix.EADDRINUSE)
	}
	return nil
}

func newSender(local netip.AddrPort) (int, error) {
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

// holders counts the sockets that have an address, on the whole host; none
// where /proc does not tell. While others open and close theirs it may tell of
// one twice: each has its inode.
func holders(local netip.AddrPort) int {
	f, err := os.Open("/proc/thread-self/net/udp")
	if err != nil {
		return 0
	}
	defer f.Close()
	a := local.Addr().As4()
	want := fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(a[:]), local.Port())
	inodes := map[string]bool{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 9 && fields[1] == want {
			inodes[fields[9]] = true
		}
	}
	return len(inodes)
}

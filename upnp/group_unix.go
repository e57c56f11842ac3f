//go:build unix

package upnp

import (
	"context"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// ListenGroup implements Host. The socket is bound to the group's address: what
// is sent to the host itself finds nobody there.
func (system) ListenGroup(ctx context.Context, g Gateway, group netip.AddrPort) (net.PacketConn, error) {
	ifi, err := net.InterfaceByName(g.Interface)
	if err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var bad error
		err := raw.Control(func(fd uintptr) {
			// Every program on the host hears announcements (RFC 6886, 3.2.1).
			if bad = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); bad == nil {
				bad = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			}
		})
		if err == nil {
			err = bad
		}
		return err
	}}
	if group.Addr().Is6() {
		group = netip.AddrPortFrom(group.Addr().WithZone(g.Interface), group.Port())
	}
	c, err := lc.ListenPacket(ctx, "udp", group.String())
	if err != nil {
		return nil, err
	}
	to := net.UDPAddrFromAddrPort(group)
	if group.Addr().Is4() {
		err = ipv4.NewPacketConn(c).JoinGroup(ifi, to)
	} else {
		err = ipv6.NewPacketConn(c).JoinGroup(ifi, to)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

package natprobe

import (
	"net"
	"net/netip"
	"syscall"
)

// Options of sockets and fields of their errors that package syscall does not
// name (ip(7), linux/errqueue.h, RFC 792, RFC 4443).
const (
	ipv6MTUDiscover = 23
	ipv6RecvErr     = 25
	pmtudiscProbe   = 3 // set DF, whatever is known about the path

	originICMP, originICMP6 = 2, 3
	extendedErr             = 16 // bytes, before the offender's address
)

// tune sets the options of a socket, and has it keep ICMP errors.
func tune(c net.PacketConn, o options) error {
	raw, ok := c.(syscall.Conn)
	if !ok {
		return errUnsupported
	}
	conn, err := raw.SyscallConn()
	if err != nil {
		return err
	}
	six := false
	if u, ok := c.LocalAddr().(*net.UDPAddr); ok {
		six = u.IP.To4() == nil
	}
	level, recvErr, ttl, discover := syscall.IPPROTO_IP, syscall.IP_RECVERR, syscall.IP_TTL, syscall.IP_MTU_DISCOVER
	if six {
		level, recvErr, ttl, discover = syscall.IPPROTO_IPV6, ipv6RecvErr, syscall.IPV6_UNICAST_HOPS, ipv6MTUDiscover
	}
	set := func(option, value int) {
		if cerr := conn.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), level, option, value) }); err == nil {
			err = cerr
		}
	}
	set(recvErr, 1)
	if err == nil && o.ttl > 0 {
		set(ttl, o.ttl)
	}
	if err == nil && o.whole {
		set(discover, pmtudiscProbe)
	}
	return err
}

// icmpErrors returns those that a socket keeps, and forgets them.
func icmpErrors(c net.PacketConn) (list []icmpError) {
	raw, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	conn, err := raw.SyscallConn()
	if err != nil {
		return nil
	}
	var oob [512]byte
	_ = conn.Control(func(fd uintptr) {
		for {
			_, n, _, sa, err := syscall.Recvmsg(int(fd), nil, oob[:], syscall.MSG_ERRQUEUE|syscall.MSG_DONTWAIT)
			if err != nil {
				return
			}
			cmsgs, err := syscall.ParseSocketControlMessage(oob[:n])
			if err != nil {
				continue
			}
			for _, m := range cmsgs {
				if e, ok := parseError(m.Data); ok {
					e.to = endpoint(sa)
					list = append(list, e)
				}
			}
		}
	})
	return list
}

// parseError reads struct sock_extended_err and the struct sockaddr after it.
func parseError(b []byte) (e icmpError, ok bool) {
	if len(b) < extendedErr+8 {
		return e, false
	}
	origin, kind, code := b[4], b[5], b[6]
	switch addr := b[extendedErr:]; {
	case origin == originICMP:
		e.from = netip.AddrFrom4([4]byte(addr[4:8]))
	case origin == originICMP6 && len(addr) >= 24:
		e.from = netip.AddrFrom16([16]byte(addr[8:24]))
	default:
		return e, false
	}
	type which struct{ origin, kind, code byte }
	switch w := (which{origin, kind, code}); {
	case origin == originICMP && kind == 11, origin == originICMP6 && kind == 3:
		e.kind = icmpExceeded
	case w == which{originICMP, 3, 3}, w == which{originICMP6, 1, 4}:
		e.kind = icmpRefused
	case w == which{originICMP, 3, 9}, w == which{originICMP, 3, 10}, w == which{originICMP, 3, 13}, w == which{originICMP6, 1, 1}:
		e.kind = icmpProhibited
	}
	return e, true
}

func endpoint(sa syscall.Sockaddr) netip.AddrPort {
	switch s := sa.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(s.Addr).Unmap(), uint16(s.Port))
	}
	return netip.AddrPort{}
}

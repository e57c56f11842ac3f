package udp

import (
	"errors"
	"net"
	"syscall"
)

// closed reports whether err says that the socket is gone for good.
func closed(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.EBADF) || errors.Is(err, syscall.ENOTSOCK)
}

// transient reports whether err came from one datagram, or from an ICMP
// message about one, and says nothing about the socket itself.
func transient(err error) bool {
	for _, e := range transientErrnos {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

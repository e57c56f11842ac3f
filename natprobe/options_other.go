//go:build !linux

package natprobe

import "net"

func tune(_ net.PacketConn, o options) error {
	if o != (options{}) {
		return errUnsupported
	}
	return nil
}

func icmpErrors(net.PacketConn) []icmpError { return nil }

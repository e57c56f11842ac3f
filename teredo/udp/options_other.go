//go:build !linux

package udp

import (
	"net"
	"syscall"
)

// control does nothing: outside Linux a UDP socket sends without the DF bit
// unless it is asked to set it.
func (*Config) control(_, _ string, _ syscall.RawConn) error { return nil }

func forceReadBuffer(*net.UDPConn, int) {}

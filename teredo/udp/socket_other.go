//go:build !linux

package udp

import "net"

func newSocket(c *net.UDPConn, _ Config) Socket { return newBatchSocket(c) }

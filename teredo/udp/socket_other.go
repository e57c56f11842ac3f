//go:build !linux

package udp

import "net"

func newSocket(c *net.UDPConn, _ Config) Socket { return newBatchSocket(c) }

// SendApart has nothing to do: only Linux has busy sockets.
func SendApart([]Socket) error { return nil }

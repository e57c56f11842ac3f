package udp

import (
	"net"

	"golang.org/x/net/ipv4"
)

// x/net has no batch calls on Windows: one message a call.

func (s *batchSocket) readMessages(ms []ipv4.Message) (int, error) {
	n, from, err := s.conn.ReadFromUDPAddrPort(ms[0].Buffers[0])
	if err != nil {
		return 0, err
	}
	ms[0].N, ms[0].Addr = n, net.UDPAddrFromAddrPort(from)
	return 1, nil
}

func (s *batchSocket) writeMessages(ms []ipv4.Message) (int, error) {
	if _, err := s.conn.WriteTo(ms[0].Buffers[0], ms[0].Addr); err != nil {
		return 0, err
	}
	return 1, nil
}

package udp

import (
	"net"

	"golang.org/x/net/ipv4"
)

func (s *batchSocket) readMessages(ms []ipv4.Message) (int, error) {
	if !s.single {
		return s.pc.ReadBatch(ms, 0)
	}
	n, from, err := s.conn.ReadFromUDPAddrPort(ms[0].Buffers[0])
	if err != nil {
		return 0, err
	}
	ms[0].N, ms[0].Addr = n, net.UDPAddrFromAddrPort(from)
	return 1, nil
}

func (s *batchSocket) writeMessages(ms []ipv4.Message) (int, error) {
	if !s.single {
		return s.pc.WriteBatch(ms, 0)
	}
	if _, err := s.conn.WriteTo(ms[0].Buffers[0], ms[0].Addr); err != nil {
		return 0, err
	}
	return 1, nil
}

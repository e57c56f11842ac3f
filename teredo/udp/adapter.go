package udp

import (
	"net"
	"net/netip"
	"sync"

	"shipworm/teredo/packet"
)

// packetConn is a Socket over any net.PacketConn, one datagram a call.
type packetConn struct {
	pc net.PacketConn
	counters

	writeMu sync.Mutex
	scratch []packet.Packet
}

// FromPacketConn makes a Socket of pc, whose addresses must be *net.UDPAddr.
// It owns pc from now on.
func FromPacketConn(pc net.PacketConn) Socket { return &packetConn{pc: pc} }

func (s *packetConn) LocalAddr() netip.AddrPort { return addrPort(s.pc.LocalAddr()) }

func (s *packetConn) Close() error { return s.pc.Close() }

func (s *packetConn) ReadBatch(pkts []packet.Packet) (int, error) {
	if len(pkts) == 0 {
		return 0, nil
	}
	p := &pkts[0]
	for {
		n, a, err := s.pc.ReadFrom(p.Buf[packet.Headroom:])
		if err != nil {
			if !transient(err) {
				return 0, err
			}
			s.readErrors.Add(1)
			continue
		}
		from := addrPort(a)
		if !from.Addr().Is4() {
			s.notIPv4.Add(1)
			continue
		}
		p.Off, p.Len, p.Segment, p.Addr = packet.Headroom, n, 0, from
		return 1, nil
	}
}

// WriteTTL sends with that time to live if pc has a method for it, as those of
// simulated networks do.
func (s *packetConn) WriteTTL(payload []byte, to netip.AddrPort, ttl uint8) error {
	var err error
	if w, ok := s.pc.(interface {
		WriteTTL(b []byte, to netip.AddrPort, ttl uint8) error
	}); ok {
		err = w.WriteTTL(payload, to, ttl)
	} else {
		_, err = s.pc.WriteTo(payload, net.UDPAddrFromAddrPort(to))
	}
	return s.refused(err)
}

// refused counts a datagram that was not sent; only a closed socket is an error.
func (c *counters) refused(err error) error {
	if err == nil || closed(err) {
		return err
	}
	c.writeDrops.Add(1)
	return nil
}

func (s *packetConn) WriteBatch(pkts []packet.Packet) (int, error) {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	pkts = split(pkts, &s.scratch)
	sent := 0
	for i := range pkts {
		_, err := s.pc.WriteTo(pkts[i].Data(), net.UDPAddrFromAddrPort(pkts[i].Addr))
		switch {
		case err == nil:
			sent++
		case closed(err):
			return sent, err
		default:
			s.writeDrops.Add(1)
		}
	}
	return sent, nil
}

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

func (s *packetConn) WriteBatch(pkts []packet.Packet) (int, error) {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	pkts = split(pkts, &s.scratch)
	sent := 0
	for i := range pkts {
		err := s.write(&pkts[i])
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

func (s *packetConn) write(p *packet.Packet) error {
	if w, ok := s.pc.(ttlWriter); ok && p.TTL != 0 {
		return w.WriteTTL(p.Data(), p.Addr, p.TTL)
	}
	_, err := s.pc.WriteTo(p.Data(), net.UDPAddrFromAddrPort(p.Addr))
	return err
}

// ttlWriter is a connection that can send with a time to live of the caller's
// choice, as those of simulated networks can.
type ttlWriter interface {
	WriteTTL(b []byte, to netip.AddrPort, ttl uint8) error
}

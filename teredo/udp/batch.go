package udp

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"sync"

	"golang.org/x/net/ipv4"

	"shipworm/teredo/packet"
)

// batchSocket is a kernel socket behind x/net's batch calls. Each direction
// has a mutex of its own, because the message arrays are reused; nobody
// contends for them in the intended use, one goroutine a direction.
type batchSocket struct {
	conn   *net.UDPConn
	pc     *ipv4.PacketConn
	single bool // one message a call
	counters

	readMu sync.Mutex
	readMs []ipv4.Message

	writeMu    sync.Mutex
	writeMs    []ipv4.Message
	writeAddrs []net.UDPAddr
	scratch    []packet.Packet
}

func newBatchSocket(c *net.UDPConn) *batchSocket {
	// x/net has no batch calls on Windows.
	return &batchSocket{conn: c, pc: ipv4.NewPacketConn(c), single: runtime.GOOS == "windows"}
}

func (s *batchSocket) LocalAddr() netip.AddrPort { return addrPort(s.conn.LocalAddr()) }

func (s *batchSocket) Close() error { return s.conn.Close() }

func (s *batchSocket) ReadBatch(pkts []packet.Packet) (int, error) {
	s.readMu.Lock()
	defer s.readMu.Unlock()
	if len(pkts) == 0 {
		return 0, nil
	}
	s.readMs = grow(s.readMs, len(pkts))
	ms := s.readMs[:len(pkts)]
	for i := range pkts {
		ms[i].Buffers[0] = pkts[i].Buf[packet.Headroom:]
		ms[i].Addr = nil
	}
	for {
		n, err := s.readMessages(ms)
		if err != nil {
			if !transient(err) {
				return 0, err
			}
			s.readErrors.Add(1)
			continue
		}
		kept := 0
		for i := range ms[:n] {
			from := addrPort(ms[i].Addr)
			if !from.Addr().Is4() {
				s.notIPv4.Add(1)
				continue
			}
			if kept != i {
				// Swap, so that every packet keeps a buffer of its own.
				pkts[kept].Buf, pkts[i].Buf = pkts[i].Buf, pkts[kept].Buf
			}
			p := &pkts[kept]
			p.Off, p.Len, p.Segment, p.Addr = packet.Headroom, ms[i].N, 0, from
			kept++
		}
		if kept > 0 {
			return kept, nil
		}
	}
}

func (s *batchSocket) WriteBatch(pkts []packet.Packet) (int, error) {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	pkts = split(pkts, &s.scratch)
	sent := 0
	// The time to live belongs to the socket here: one more system call each
	// way, for the few packets that want their own.
	for len(pkts) > 0 {
		n := 1
		for n < len(pkts) && pkts[n].TTL == pkts[0].TTL {
			n++
		}
		restore := func() error { return nil }
		if ttl := int(pkts[0].TTL); ttl != 0 {
			usual, err := s.pc.TTL()
			if err == nil {
				err = s.pc.SetTTL(ttl)
			}
			if err != nil {
				return sent, err
			}
			restore = func() error { return s.pc.SetTTL(usual) }
		}
		k, err := s.write(pkts[:n])
		sent, pkts = sent+k, pkts[n:]
		if err := errors.Join(err, restore()); err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// write sends packets of one time to live.
func (s *batchSocket) write(pkts []packet.Packet) (int, error) {
	s.writeMs = grow(s.writeMs, len(pkts))
	for len(s.writeAddrs) < len(pkts) {
		s.writeAddrs = append(s.writeAddrs, net.UDPAddr{IP: make(net.IP, 4)})
	}
	ms := s.writeMs[:0]
	for i := range pkts {
		a := pkts[i].Addr.Addr().Unmap()
		if !a.Is4() || pkts[i].Len == 0 {
			s.writeDrops.Add(1)
			continue
		}
		ua := &s.writeAddrs[len(ms)]
		ip := a.As4()
		copy(ua.IP, ip[:])
		ua.Port = int(pkts[i].Addr.Port())
		ms = ms[:len(ms)+1]
		ms[len(ms)-1].Buffers[0] = pkts[i].Data()
		ms[len(ms)-1].Addr = ua
	}
	sent := 0
	for len(ms) > 0 {
		n, err := s.writeMessages(ms)
		n = max(n, 0)
		sent += n
		ms = ms[n:]
		if err != nil && len(ms) > 0 {
			if closed(err) {
				return sent, err
			}
			// The error belongs to the first message that was not sent.
			s.writeDrops.Add(1)
			ms = ms[1:]
		}
	}
	return sent, nil
}

// grow makes ms at least n long; every element has one buffer slot.
func grow(ms []ipv4.Message, n int) []ipv4.Message {
	for len(ms) < n {
		ms = append(ms, ipv4.Message{Buffers: make([][]byte, 1)})
	}
	return ms
}

// addrPort is netip's view of a socket address; invalid if it is none.
func addrPort(a net.Addr) netip.AddrPort {
	ua, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := ua.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

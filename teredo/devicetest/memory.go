package devicetest

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"shipworm/teredo/packet"
)

// queue bounds what waits in a Memory, each way.
const queue = 1024

// Memory is a device whose host is the test. It works under virtual time.
type Memory struct {
	FromHost chan []byte     // put here what the host sends, and leave it alone
	ToHost   chan []byte     // take here what has arrived, one packet each
	Addrs    chan netip.Addr // the addresses that the host was given

	drops  atomic.Uint64
	closed chan struct{}
	once   sync.Once
}

// NewMemory returns a Memory without an address.
func NewMemory() *Memory {
	return &Memory{
		FromHost: make(chan []byte, queue), ToHost: make(chan []byte, queue),
		Addrs: make(chan netip.Addr, queue), closed: make(chan struct{}),
	}
}

// Drops returns how many packets found no room: with the host, who did not take
// what came before, or in the reader's buffers.
func (m *Memory) Drops() uint64 { return m.drops.Load() }

// Closed returns a channel that is closed with the device.
func (m *Memory) Closed() <-chan struct{} { return m.closed }

// ReadBatch waits for packets of FromHost and takes as many as there are.
func (m *Memory) ReadBatch(pkts []packet.Packet) (n int, err error) {
	if len(pkts) == 0 {
		return 0, nil
	}
	for n == 0 {
		select {
		case <-m.closed: // which goes before packets
			return 0, net.ErrClosed
		default:
		}
		select {
		case b := <-m.FromHost:
			n += m.fill(&pkts[0], b)
		case <-m.closed:
			return 0, net.ErrClosed
		}
	}
	for n < len(pkts) {
		select {
		case b := <-m.FromHost:
			n += m.fill(&pkts[n], b)
		default:
			return n, nil
		}
	}
	return n, nil
}

// fill returns how many packets it filled.
func (m *Memory) fill(p *packet.Packet, b []byte) int {
	if len(b) > len(p.Buf)-packet.Headroom {
		m.drops.Add(1)
		return 0
	}
	p.Off, p.Len, p.Segment = packet.Headroom, copy(p.Buf[packet.Headroom:], b), 0
	return 1
}

// WriteBatch puts packets into ToHost, and runs as the packets that they are.
func (m *Memory) WriteBatch(pkts []packet.Packet) (taken int, err error) {
	for i := range pkts {
		for b := range pkts[i].Datagrams() {
			select {
			case <-m.closed:
				return taken, net.ErrClosed
			default:
			}
			select {
			case m.ToHost <- append([]byte(nil), b...):
				taken++
			default:
				m.drops.Add(1)
			}
		}
	}
	select {
	case <-m.closed:
		return taken, net.ErrClosed
	default:
		return taken, nil
	}
}

// SetAddr puts the address into Addrs, in place of the oldest if nobody looks.
func (m *Memory) SetAddr(a netip.Addr) error {
	select {
	case <-m.closed:
		return net.ErrClosed
	default:
	}
	for {
		select {
		case m.Addrs <- a:
			return nil
		default:
		}
		select {
		case <-m.Addrs:
		default:
		}
	}
}

// Close unblocks ReadBatch.
func (m *Memory) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

// Socket returns a UDP socket of the host, who has no other and fragments
// nothing. What is not for it, or damaged, is lost.
func (m *Memory) Socket(addr netip.Addr, port uint16) net.PacketConn {
	return &memorySocket{m: m, local: netip.AddrPortFrom(addr, port)}
}

type memorySocket struct {
	m     *Memory
	local netip.AddrPort
	until atomic.Int64 // the deadline in nanoseconds
}

func (s *memorySocket) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(s.local) }
func (s *memorySocket) Close() error        { return nil }

// WriteTo puts a datagram into FromHost.
func (s *memorySocket) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case s.m.FromHost <- udp6(s.local, to.(*net.UDPAddr).AddrPort(), b):
		return len(b), nil
	case <-s.m.closed:
		return 0, net.ErrClosed
	}
}

// ReadFrom takes the next datagram for this socket out of ToHost.
func (s *memorySocket) ReadFrom(b []byte) (int, net.Addr, error) {
	timeout := time.NewTimer(time.Until(time.Unix(0, s.until.Load())))
	defer timeout.Stop()
	for {
		select {
		case p := <-s.m.ToHost:
			from, to, payload, err := parseUDP(p)
			if err != nil || to != s.local {
				continue
			}
			return copy(b, payload), net.UDPAddrFromAddrPort(from), nil
		case <-timeout.C:
			return 0, nil, os.ErrDeadlineExceeded
		case <-s.m.closed:
			return 0, nil, net.ErrClosed
		}
	}
}

func (s *memorySocket) SetReadDeadline(t time.Time) error { s.until.Store(t.UnixNano()); return nil }
func (s *memorySocket) SetWriteDeadline(time.Time) error  { return nil }
func (s *memorySocket) SetDeadline(t time.Time) error     { return s.SetReadDeadline(t) }

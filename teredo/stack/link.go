package stack

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// link is the interface's link endpoint: a bounded ring of outgoing packets
// on one side, direct delivery on the other. gVisor's own channel endpoint
// would do for single packets, but caps super-packets at 32 KiB.
type link struct {
	mtu  uint32
	drop *counters
	addr atomic.Pointer[netip.Addr]

	disp atomic.Pointer[stack.NetworkDispatcher]

	direct func(*stack.PacketBuffer) bool // nil: everything waits for the reader

	mu     sync.Mutex
	ring   []*stack.PacketBuffer
	head   int // index of the oldest packet
	count  int
	turn   bool      // somebody has packets in hand: others stay in the ring
	last   time.Time // when something was sent
	closed bool

	ready chan struct{} // holds a token while packets may be waiting
	done  chan struct{}
}

func newLink(queue int, mtu uint32, drop *counters) *link {
	return &link{
		mtu: mtu, drop: drop,
		ring:  make([]*stack.PacketBuffer, queue),
		ready: make(chan struct{}, 1),
		done:  make(chan struct{}),
	}
}

func (l *link) setAddr(a netip.Addr) { l.addr.Store(&a) }

func (l *link) getAddr() netip.Addr {
	if a := l.addr.Load(); a != nil {
		return *a
	}
	return netip.Addr{}
}

// pause is how long nothing may have been sent before a packet that goes
// directly. In a transfer there is none: runs form in the ring.
const pause = time.Millisecond

// WritePackets queues what the stack sends, or sends it directly. It never
// blocks: TCP and QUIC read a drop as the congestion that it is.
func (l *link) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	if l.direct != nil && l.takeTurn(pkts) {
		sent := l.direct(pkts.AsSlice()[0])
		l.endTurn()
		if sent {
			return 1, nil
		}
	}
	n := 0
	l.mu.Lock()
	for _, p := range pkts.AsSlice() {
		if l.closed || l.count == len(l.ring) {
			l.drop.add(DropQueueFull)
			continue
		}
		l.ring[(l.head+l.count)%len(l.ring)] = p.IncRef()
		l.count++
		n++
	}
	l.mu.Unlock()
	if n > 0 {
		l.signal()
	}
	return pkts.Len(), nil
}

// takeTurn takes the turn if pkts may go directly: a single packet after a
// pause, with none before it.
func (l *link) takeTurn(pkts stack.PacketBufferList) bool {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	paused := now.Sub(l.last) > pause
	l.last = now
	if !paused || l.turn || l.count > 0 || l.closed || pkts.Len() != 1 || pkts.AsSlice()[0].Size() > int(l.mtu) {
		return false
	}
	l.turn = true
	return true
}

// endTurn gives the turn back, to the reader if there is something for it.
func (l *link) endTurn() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn = false
	if l.count > 0 {
		l.signal()
	}
}

func (l *link) signal() {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// pop takes up to len(out) packets off the ring, and with them the turn, until
// endTurn. There are none as long as the turn is another's.
func (l *link) pop(out []*stack.PacketBuffer) (n int, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turn {
		return 0, l.closed
	}
	for n < len(out) && l.count > 0 {
		out[n], l.ring[l.head] = l.ring[l.head], nil
		l.head = (l.head + 1) % len(l.ring)
		l.count--
		n++
	}
	l.turn = n > 0
	return n, l.closed
}

// shut ends readers and gives up what is queued.
func (l *link) shut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	close(l.done)
	for ; l.count > 0; l.count-- {
		l.ring[l.head].DecRef()
		l.ring[l.head] = nil
		l.head = (l.head + 1) % len(l.ring)
	}
}

// Capabilities says that checksums need no second look: WriteBatch looks. It
// must, since a super-packet has none. Fragments alone pass unseen, as what
// they add up to is not known there; the tunnel's own UDP checksum covers them.
func (*link) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload
}

// SupportedGSO has TCP hand over super-packets, which ReadBatch takes apart.
func (*link) SupportedGSO() stack.SupportedGSO { return stack.HostGSOSupported }

// GSOMaxSize leaves room for the headers of the packets of a run, so that it
// crosses the socket in one piece.
func (*link) GSOMaxSize() uint32 { return maxSuper }

const maxSuper = 60000

// The rest of stack.LinkEndpoint.

func (l *link) Attach(d stack.NetworkDispatcher) {
	if d == nil {
		l.disp.Store(nil)
		return
	}
	l.disp.Store(&d)
}
func (l *link) IsAttached() bool                      { return l.disp.Load() != nil }
func (l *link) MTU() uint32                           { return l.mtu }
func (*link) SetMTU(uint32)                           {}
func (*link) MaxHeaderLength() uint16                 { return 0 }
func (*link) LinkAddress() tcpip.LinkAddress          { return "" }
func (*link) SetLinkAddress(tcpip.LinkAddress)        {}
func (*link) Wait()                                   {}
func (*link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }
func (*link) AddHeader(*stack.PacketBuffer)           {}
func (*link) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (*link) Close()                                  {}
func (*link) SetOnCloseAction(func())                 {}

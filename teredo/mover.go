package teredo

import (
	"net/netip"
	"sync"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/packet"
	"shipworm/teredo/udp"
)

// mover moves packets between socket and device, one goroutine a direction, or
// for each of several sockets: a packet stays on the processor that read it. The
// machine decides under a lock, the system calls happen outside of it.
type mover struct {
	socket udp.Socket
	device Device

	mu   sync.Mutex // guards the machine, and all that belongs to it
	due  time.Time  // when the owner's timer will wake it; zero for never
	poke chan struct{}

	delivering sync.Mutex // one goroutine writes to the device at a time
}

func newMover(socket udp.Socket, device Device) mover {
	return mover{socket: socket, device: device, poke: make(chan struct{}, 1)}
}

// half is what a goroutine keeps for itself.
type half struct {
	out     engine.Output
	scratch []packet.Packet
}

func (h *half) packets(n int) []packet.Packet {
	for len(h.scratch) < n {
		h.scratch = append(h.scratch, packet.Packet{})
	}
	return h.scratch[:n]
}

// run reads until the source fails. Under the lock, take hands packets and runs
// to the machine, and settle sees to what else the machine wants: it reports
// false if that was all.
func (m *mover) run(read func([]packet.Packet) (int, error), next func() time.Time,
	take func(time.Time, []packet.Packet, *engine.Output), settle func(*half) bool) error {
	pkts := packet.NewBatch(batchLen, packet.RunSize)
	var h half
	var pace pace
	for {
		n, err := read(pkts[:pace.most()])
		if err != nil {
			return err
		}
		now := time.Now()
		m.mu.Lock()
		take(now, pkts[:n], &h.out)
		pace.saw(pkts[:n])
		more := settle(&h)
		due := next()
		sooner := !due.IsZero() && (m.due.IsZero() || due.Before(m.due))
		m.mu.Unlock()
		if more {
			m.carry(&h)
		}
		h.out.Reset()
		if sooner {
			select {
			case m.poke <- struct{}{}:
			default: // it is on its way
			}
		}
	}
}

// carry sends what goes out from the service port, and delivers. What cannot be
// sent is counted by the socket, and retried by the protocol.
func (m *mover) carry(h *half) {
	if n := len(h.out.Transmit); n > 0 {
		m.transmit(m.socket, h, h.out.Transmit)
	}
	if n := len(h.out.Deliver); n > 0 {
		pkts := h.packets(n)
		for i, b := range h.out.Deliver {
			pkts[i].Set(b, netip.AddrPort{})
		}
		m.delivering.Lock()
		defer m.delivering.Unlock()
		_, _ = m.device.WriteBatch(pkts)
	}
}

func (m *mover) transmit(s udp.Socket, h *half, ts []engine.Transmit) {
	pkts := h.packets(len(ts))
	for i, t := range ts {
		pkts[i].Set(t.Payload, t.To)
		pkts[i].Segment, pkts[i].TTL = t.Segment, t.TTL
	}
	_, _ = s.WriteBatch(pkts)
}

// sleep arms a timer for what is due next, and returns its channel; nil if
// nothing is.
func (m *mover) sleep(timer *time.Timer, next func() time.Time) <-chan time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.due = next()
	if m.due.IsZero() {
		return nil
	}
	timer.Reset(time.Until(m.due))
	return timer.C
}

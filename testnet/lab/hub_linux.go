package lab

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"shipworm/testnet/invariant"
	"shipworm/testnet/sim"
)

// A hub moves packets between the TUN devices and the world. One goroutine
// does all of it, run to completion: what a host's kernel answers at once, an
// acknowledgement or a ping, is read right after the packet that caused it was
// written, with nobody to wake. The world knows no concurrency, so one lock is
// around it, for the sake of those who change it.
type hub struct {
	log     *slog.Logger
	epoll   int
	timer   int // a timerfd: Go's timers round up to a millisecond
	bell    int // an eventfd that says the hub is closed
	done    chan struct{}
	dropped atomic.Uint64 // packets that a kernel did not take, or that were malformed

	mu      sync.Mutex
	world   *sim.World
	ports   map[int32]*port // by file descriptor
	pending []*port         // may have packets to read
	holding []*port         // have a run to hand over
	armed   time.Time       // what the timer is set to; zero when it is not
	closed  bool

	impaired bool // a line has properties, or may have
	rules    *invariant.Watch
	traced   bool        // somebody looks at packets
	current  *vnetHeader // of the packet that is crossing the world unfinished
	header   vnetHeader
	buf      []byte
	space    []byte
}

// A port is where a host's device is plugged in.
type port struct {
	hub     *hub
	host    *sim.Host
	dev     *device
	pending bool
	run     run                 // of segments that arrived just now
	hdr     [vnetHeaderLen]byte // of what is being written
}

// burst is how many packets are read from one port before the next one has
// its turn, and rounds how many turns there are before others get the lock.
const (
	burst  = 32
	rounds = 16
)

func newHub(seed uint64, log *slog.Logger) (*hub, error) {
	h := &hub{
		log:   log,
		world: sim.New(seed, time.Now()),
		ports: make(map[int32]*port),
		done:  make(chan struct{}),
		buf:   make([]byte, vnetHeaderLen+math.MaxUint16),
		epoll: -1, timer: -1, bell: -1,
	}
	h.rules = invariant.Observe(h.world, invariant.Config{
		Kernels: true, Unfinished: func() bool { return h.current.checksumMissing() },
	})
	if err := h.open(); err != nil {
		h.release()
		return nil, fmt.Errorf("lab: %w", err)
	}
	go h.run()
	return h, nil
}

func (h *hub) open() (err error) {
	if h.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if h.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return os.NewSyscallError("timerfd_create", err)
	}
	if h.bell, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	return errors.Join(h.watch(h.timer), h.watch(h.bell))
}

// watch makes fd wake the hub, once for each time that it becomes readable:
// what is there then is read to the end.
func (h *hub) watch(fd int) error {
	ev := &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET&math.MaxUint32, Fd: int32(fd)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(h.epoll, unix.EPOLL_CTL_ADD, fd, ev))
}

func (h *hub) release() {
	for _, fd := range []int{h.epoll, h.timer, h.bell} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// run waits for packets and for the time of the world's next event.
func (h *hub) run() {
	defer close(h.done)
	var events [64]unix.EpollEvent
	for {
		n, err := unix.EpollWait(h.epoll, events[:], -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			h.log.Error("laboratory stopped", "err", err)
			return
		}
		h.mu.Lock()
		for _, ev := range events[:max(0, n)] {
			if ev.Fd == int32(h.timer) {
				h.armed = time.Time{}
			} else if p := h.ports[ev.Fd]; p != nil {
				p.poll()
			}
		}
		for h.drain() {
			h.mu.Unlock()
			h.mu.Lock()
		}
		closed := h.closed
		h.mu.Unlock()
		if closed {
			return
		}
	}
}

// drain moves packets until there are none, or for a while: then it returns
// true. The caller holds the lock.
func (h *hub) drain() bool {
	for range rounds {
		ports := len(h.pending)
		if ports == 0 || h.closed {
			break
		}
		for _, p := range h.pending[:ports] {
			p.pending = false
			p.read()
		}
		h.pending = h.pending[:copy(h.pending, h.pending[ports:])]
		h.flush()
	}
	h.advance()
	return len(h.pending) > 0 && !h.closed
}

// advance brings the world to the present and sets the timer for what comes
// next. The caller holds the lock.
func (h *hub) advance() {
	if h.closed {
		return
	}
	h.world.Advance(time.Now())
	h.flush()
	next, ok := h.world.Next()
	if !ok || !h.armed.IsZero() && !next.Before(h.armed) {
		return // a timer that comes too early does no harm
	}
	// Zero would disarm it.
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(1, time.Until(next).Nanoseconds()))}
	if err := unix.TimerfdSettime(h.timer, 0, &spec, nil); err != nil {
		h.log.Error("laboratory clock", "err", err)
		return
	}
	h.armed = next
}

// attach plugs a device into a host of the world. The hub closes it in the end.
func (h *hub) attach(host *sim.Host, dev *device) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &port{hub: h, host: host, dev: dev}
	if err := h.watch(dev.fd); err != nil {
		return err
	}
	h.ports[int32(dev.fd)] = p
	host.Receive = p.receive
	return nil
}

// poll has the port read soon.
func (p *port) poll() {
	if !p.pending {
		p.pending = true
		p.hub.pending = append(p.hub.pending, p)
	}
}

// read takes a burst of packets from the host's kernel.
func (p *port) read() {
	h := p.hub
	for range burst {
		n, err := p.dev.read(h.buf)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return
		case n > vnetHeaderLen:
			h.header.parse(h.buf)
			h.send(p.host, h.buf[vnetHeaderLen:n])
		}
	}
	p.poll()
}

// impair has every packet cross the lines by itself from now on: only then is it
// one that a wire carries. The caller holds the lock.
func (h *hub) impair() { h.impaired = true }

// send puts a packet of header h.header on the host's line.
func (h *hub) send(host *sim.Host, pkt []byte) {
	if h.impaired || h.traced {
		// A line decides about each packet, and an onlooker sees each.
		now := time.Now()
		h.world.Advance(now)
		var ok bool
		if h.space, ok = h.header.finish(pkt, h.space, host.Send); !ok {
			h.dropped.Add(1)
		}
		h.world.Advance(now)
		return
	}
	now := time.Now()
	h.world.Advance(now) // what is due is none of this packet
	h.current = &h.header
	host.Send(pkt)
	h.world.Advance(now) // no line holds anything up: it arrives at once
	h.current = nil
}

// receive takes a packet for the host's kernel.
func (p *port) receive(_ time.Time, pkt []byte) {
	h := p.hub
	if h.current == nil && p.run.add(pkt) {
		return
	}
	p.flush()
	switch {
	case h.current != nil:
		p.write(h.current.unfinished(pkt), pkt)
	case p.run.start(pkt):
		h.holding = append(h.holding, p)
	default:
		p.write(vnetHeader{}, pkt)
	}
}

// flush hands over what receive has held back. The caller holds the lock.
func (h *hub) flush() {
	for _, p := range h.holding {
		p.flush()
	}
	h.holding = h.holding[:0]
}

func (p *port) flush() {
	if p.run.count > 0 {
		p.write(p.run.take())
	}
}

// write hands a packet to the host's kernel. What that answers at once is read
// soon.
func (p *port) write(hdr vnetHeader, pkt []byte) {
	hdr.put(p.hdr[:])
	if err := p.dev.write(p.hdr[:], pkt); err != nil {
		p.hub.dropped.Add(1)
	}
	p.poll()
}

// stop ends the traffic and waits until it has ended.
func (h *hub) stop() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	if _, err := unix.Write(h.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		h.log.Error("laboratory does not stop", "err", err)
		return
	}
	<-h.done
	for _, p := range h.ports {
		p.dev.close()
	}
	h.release()
}

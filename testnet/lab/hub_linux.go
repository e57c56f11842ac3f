package lab

import (
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"shipworm/testnet/sim"
)

// A hub moves packets between the TUN devices and the world. The world knows no
// concurrency, so one lock is around all of it; a packet that needs no delay
// crosses the whole world in the goroutine that read it.
type hub struct {
	log   *slog.Logger
	alarm *alarm
	wg    sync.WaitGroup

	dropped atomic.Uint64 // deliveries that a host's kernel did not take

	mu     sync.Mutex
	world  *sim.World
	armed  time.Time // what the alarm is set to; zero when it is not
	closed bool
}

func newHub(seed uint64, log *slog.Logger) (*hub, error) {
	alarm, err := newAlarm()
	if err != nil {
		return nil, err
	}
	h := &hub{log: log, alarm: alarm, world: sim.New(seed, time.Now())}
	h.wg.Go(h.run)
	return h, nil
}

// run advances the world when something is due and no packet comes to do it.
func (h *hub) run() {
	for h.alarm.wait() == nil {
		h.mu.Lock()
		h.armed = time.Time{}
		h.advance()
		h.mu.Unlock()
	}
}

// advance brings the world to the present. The caller holds the lock.
func (h *hub) advance() {
	if h.closed {
		return
	}
	h.world.Advance(time.Now())
	next, ok := h.world.Next()
	if !ok || !h.armed.IsZero() && !next.Before(h.armed) {
		return // an alarm that comes too early does no harm
	}
	if err := h.alarm.set(time.Until(next)); err != nil {
		h.log.Error("laboratory clock", "err", err)
		return
	}
	h.armed = next
}

// attach joins a TUN device to a host of the world, until the device is closed.
func (h *hub) attach(host *sim.Host, tun io.ReadWriter) {
	h.mu.Lock()
	host.Receive = func(_ time.Time, pkt []byte) {
		if _, err := tun.Write(pkt); err != nil {
			h.dropped.Add(1)
		}
	}
	h.mu.Unlock()
	h.wg.Go(func() {
		buf := make([]byte, ifaceMTU)
		for {
			n, err := tun.Read(buf)
			if err != nil {
				return
			}
			if n == 0 || buf[0]>>4 != 4 {
				continue
			}
			h.mu.Lock()
			if !h.closed {
				h.world.Advance(time.Now())
				host.Send(buf[:n])
				h.advance()
			}
			h.mu.Unlock()
		}
	})
}

// stop ends the traffic. The devices must be closed before wait.
func (h *hub) stop() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.alarm.close()
}

func (h *hub) wait() { h.wg.Wait() }

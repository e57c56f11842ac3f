package teredo

import (
	"context"
	"net/netip"
	"sync/atomic"

	"shipworm/teredo/packet"
	"shipworm/teredo/udp"
)

// servicePort is the socket of the service port, which another may replace
// while it is read and written.
type servicePort struct {
	now atomic.Pointer[udp.Socket]
}

func newServicePort(s udp.Socket) *servicePort {
	p := &servicePort{}
	p.now.Store(&s)
	return p
}

// replace takes s in the place of the present socket, which is closed.
func (p *servicePort) replace(s udp.Socket) { (*p.now.Swap(&s)).Close() }

// ReadBatch goes on with the next socket when the present one was replaced.
func (p *servicePort) ReadBatch(pkts []packet.Packet) (int, error) {
	for {
		s := p.now.Load()
		n, err := (*s).ReadBatch(pkts)
		if err == nil || p.now.Load() == s {
			return n, err
		}
	}
}

// WriteBatch writes to the present socket. What meets one that is just being
// replaced is lost, as a datagram may be.
func (p *servicePort) WriteBatch(pkts []packet.Packet) (int, error) {
	return (*p.now.Load()).WriteBatch(pkts)
}

func (p *servicePort) LocalAddr() netip.AddrPort { return (*p.now.Load()).LocalAddr() }

// Stats are those of the present socket.
func (p *servicePort) Stats() SocketStats { return (*p.now.Load()).Stats() }

func (p *servicePort) Close() error { return (*p.now.Load()).Close() }

// portRefused has another service port opened: the NAT shows this one as a port
// that no peer sends to (T-02). The engine says so twice at once and then once a
// minute, which is all the patience that a NAT of that kind needs. A port that
// was configured stays, for it has its reasons outside.
func (r *running) portRefused() {
	c := r.c
	if c.cfg.Port != 0 {
		c.log.Warn("the NAT maps the configured port to one that no peer sends to", "port", c.cfg.Port)
		c.set(func() {
			if !c.addr.IsValid() {
				c.failure = &QualifyError{Server: r.serverName(), Stage: StageSolicit, Err: ErrPortRefused}
			}
		})
		return
	}
	select {
	case r.renew <- struct{}{}:
	default: // it is about to be
	}
}

// renewPort does that, in the loop.
func (r *running) renewPort(ctx context.Context) {
	s, err := r.c.openSocket(ctx)
	if err != nil {
		r.c.log.Warn("open another service port", "err", err)
		return
	}
	r.service.replace(s)
	r.linkChanged("the NAT's choice of a port")
	r.startMap(ctx)
}

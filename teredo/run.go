package teredo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/packet"
	"shipworm/teredo/stack"
	"shipworm/teredo/udp"
)

// running is a Client at work. Two goroutines move packets, those of the
// userspace stack send lone ones (sendDirect), and loop does all else; who
// touches any of it holds the mover's lock, but for direct.
type running struct {
	mover
	c       *Client
	gate    gate
	policy  Policy
	machine *engine.Client
	own     half          // of loop
	direct  engine.Output // of sendDirect, which the stack calls once at a time
	service *servicePort
	renew   chan struct{} // the service port is to be another one
	local   netip.AddrPort

	extra    map[uint16]udp.Socket // extra ports
	arrivals chan *arrival
	mapped   chan mapping
	external netip.AddrPort // of the port forward, if there is one
	stopMap  context.CancelFunc

	asked     uint64 // solicitations when the server was last looked up again
	resolving bool
	resolved  chan found
	servers   rotation
	set       Settings
	changes   int // of set
	helpers   sync.WaitGroup
}

// Run qualifies and then moves packets until ctx ends; it returns the cause of
// that, or what went wrong: a *QualifyError if the server's name could not be
// resolved or the socket not be opened. A silent server does not end it. When
// it returns, every goroutine, socket and connection of the Client is gone. It
// may be called once.
func (c *Client) Run(ctx context.Context) error {
	if !c.ran.CompareAndSwap(false, true) {
		return ErrRan
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &running{c: c, mover: newMover(nil, nil), gate: newGate(&c.cfg, time.Now()), set: c.Settings(), policy: c.cfg.Policy, resolved: make(chan found, 1),
		extra: map[uint16]udp.Socket{}, renew: make(chan struct{}, 1), arrivals: make(chan *arrival), mapped: make(chan mapping)}
	err := r.open(ctx)
	if err == nil {
		err = r.serve(ctx, cancel)
	}
	c.set(func() {
		if r.machine != nil {
			c.final = r.state()
		}
		c.ended, c.addr, c.host = true, Address{}, nil
		if q := new(QualifyError); errors.As(err, &q) {
			c.failure = q
		}
		close(c.done) // whoever sees that it ended, sees it done
	})
	return err
}

// open resolves the server and opens socket and device.
func (r *running) open(ctx context.Context) (err error) {
	c := r.c
	defer func() {
		if err != nil && c.cfg.Device != nil {
			c.cfg.Device.Close()
		}
	}()
	if err = r.gate.check(time.Now()); err != nil {
		return fmt.Errorf("teredo: %w", err)
	}
	if err = r.findLocal(); err != nil {
		return err
	}
	if err = r.firstServer(ctx); err != nil {
		return err
	}
	s, err := c.openSocket(ctx)
	if err != nil {
		return &QualifyError{Server: c.cfg.Server, Stage: StageSocket, Err: err}
	}
	r.service = newServicePort(s)
	r.socket = r.service
	r.locate()
	if r.device = c.cfg.Device; r.device != nil {
		return nil
	}
	host, err := stack.New(stack.Config{NoEcho: c.cfg.NoEcho, Direct: r.sendDirect})
	if err != nil {
		r.socket.Close()
		return err
	}
	r.device = host
	c.set(func() { c.host = host })
	return nil
}

// findLocal brings the policy up to date with the host's addresses. A foreign
// socket lives on another host, of which nothing is known.
func (r *running) findLocal() error {
	if r.c.cfg.Listen != nil {
		return nil
	}
	p, err := withLocal(r.c.cfg.Policy)
	if err != nil {
		return fmt.Errorf("teredo: %w", err)
	}
	r.policy = p
	return nil
}

// locate notes the socket's address as the server's direction shows it.
func (r *running) locate() {
	r.local = r.socket.LocalAddr()
	if r.c.cfg.Listen == nil {
		r.local = localAddr(r.machine.Snapshot().Server, r.local.Port())
	}
	r.machine.SetLocal(r.local)
}

// serve starts the goroutines and runs the loop.
func (r *running) serve(ctx context.Context, cancel context.CancelFunc) error {
	news := make(chan string, 1) // of the network
	broken := make(chan error, 2)
	next := func() time.Time { return r.machine.Next() } // the machine may be replaced
	settle := func(h *half) bool { return r.settle(ctx, h) }
	r.c.serving.Store(true) // first: who hears of an address may ask for the state at once
	r.mu.Lock()
	fromLink := r.hearLink(ctx)
	r.startMap(ctx)
	r.machine.Start(time.Now(), &r.own.out)
	r.flush(ctx)
	r.mu.Unlock()
	r.helpers.Go(func() { broken <- r.run(r.socket.ReadBatch, next, r.receive, settle) })
	r.helpers.Go(func() { broken <- r.run(r.device.ReadBatch, next, r.send, settle) })
	if r.c.cfg.Listen == nil {
		r.helpers.Go(func() { watchLinks(ctx, r.c.log, news) })
	}
	r.helpers.Go(func() { watchSleep(ctx, r.c.clock, news) })
	err := r.loop(ctx, fromLink, news, broken)
	cancel()
	r.socket.Close()
	r.mu.Lock()
	for _, s := range r.extra {
		s.Close()
	}
	r.mu.Unlock()
	r.device.Close()
	r.helpers.Wait()
	return err
}

// receive hands what the socket brought to the machine.
func (r *running) receive(now time.Time, pkts []packet.Packet, out *engine.Output) {
	r.machine.ReceiveBatch(now, pkts, out) // the machine may be replaced
}

// send hands what the device brought to the machine.
func (r *running) send(now time.Time, pkts []packet.Packet, out *engine.Output) {
	r.gate.used = now
	for i := range pkts {
		r.machine.SendRun(now, pkts[i].Data(), pkts[i].Segment, out)
	}
}

// settle does, under the lock, what takes more than moving packets: news, and
// ports that come and go and are sent from. It reports whether anything is left
// to be carried.
func (r *running) settle(ctx context.Context, h *half) bool {
	if len(h.out.Deliver) > 0 {
		r.gate.used = time.Now()
	}
	plain := len(h.out.Events)+len(h.out.Open)+len(h.out.Close) == 0
	for i := range h.out.Transmit {
		plain = plain && h.out.Transmit[i].Port == 0
	}
	if plain {
		return len(h.out.Transmit)+len(h.out.Deliver) > 0
	}
	for _, e := range h.out.Events {
		r.event(ctx, e)
	}
	r.openPorts(ctx, h.out.Open)
	r.transmitFrom(h)
	r.closePorts(h.out.Close)
	h.out.Transmit = h.out.Transmit[:0]
	return len(h.out.Deliver) > 0
}

func (r *running) loop(ctx context.Context, fromLink *reader, news <-chan string, broken <-chan error) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	watch := time.NewTicker(gateEvery)
	defer watch.Stop()
	var announced chan *batch
	if fromLink != nil {
		announced = fromLink.full
	}
	for {
		var do func() // under the lock
		after := func() {}
		select {
		case <-r.sleep(timer, r.next):
			do = func() {
				now := time.Now()
				if r.passTurn(ctx, now) {
					return
				}
				r.machine.Tick(now, &r.own.out)
				r.flush(ctx) // it looks at what has become of it
				r.seekServer(ctx)
			}
		case <-r.poke:
			continue
		case a := <-r.arrivals:
			do = func() {
				for i := range a.batch.pkts[:a.batch.n] {
					r.machine.ReceiveOn(time.Now(), a.port, a.batch.pkts[i].Addr, a.batch.pkts[i].Data(), &r.own.out)
				}
			}
			after = func() { a.taken <- struct{}{} }
		case m := <-r.mapped:
			do = func() { r.setMapped(m) }
		case b := <-announced:
			do = func() {
				for i := range b.pkts[:b.n] {
					r.machine.ReceiveLocal(time.Now(), b.pkts[i].Addr, b.pkts[i].Data(), &r.own.out)
				}
			}
			after = func() { fromLink.free <- b }
		case now := <-watch.C:
			r.mu.Lock()
			err := r.gate.check(now)
			r.mu.Unlock()
			if err != nil {
				return fmt.Errorf("teredo: %w", err)
			}
			continue
		case <-r.renew:
			do = func() { r.renewPort(ctx) }
		case what := <-news:
			do = func() {
				r.linkChanged(what)
				r.startMap(ctx)
			}
		case m := <-r.resolved:
			do = func() { r.replace(m) }
		case f := <-r.c.requests:
			do = func() { f(r) }
		case err := <-broken:
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("teredo: %w", err)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		r.mu.Lock()
		do()
		r.flush(ctx)
		r.mu.Unlock()
		after() // what was read may be read over
	}
}

func (r *running) setMapped(m mapping) {
	if m.ctx.Err() == nil {
		r.c.log.Info("port forward", "external", m.external)
		r.external = m.external
		r.machine.SetMapped(time.Now(), m.external, &r.own.out)
	}
}

// flush carries out what the machine asked loop for. The lock is held.
func (r *running) flush(ctx context.Context) {
	if r.settle(ctx, &r.own) {
		r.carry(&r.own)
	}
	r.own.out.Reset()
}

func (r *running) event(ctx context.Context, e engine.Event) {
	c := r.c
	switch e.Kind {
	case engine.Qualified:
		c.log.Info("qualified", "address", e.Address, "rtt", e.RTT)
		r.servers.restart()
		r.setAddr(e.Address)
	case engine.AddressLost:
		c.log.Info("address lost", "address", e.Address)
		r.setAddr(Address{})
	case engine.ServerUnreachable:
		c.log.Warn("server unreachable", "server", r.serverName(), "retry", e.RetryAt)
		if !r.servers.more() {
			c.set(func() {
				c.failure = &QualifyError{Server: r.serverName(), Stage: StageSolicit, Err: ErrServerSilent}
			})
		}
	case engine.PortRefused:
		r.portRefused()
	default:
		c.log.Debug(e.Kind.String(), "peer", e.Peer, "endpoint", e.Endpoint)
	}
	if c.cfg.OnEvent != nil {
		c.cfg.OnEvent(e)
	}
}

func (r *running) setAddr(a Address) {
	if err := r.device.SetAddr(a.Addr()); err != nil && !errors.Is(err, net.ErrClosed) {
		r.c.log.Error("set the device's address", "address", a, "err", err)
	}
	r.c.set(func() {
		r.c.addr = a
		if a.IsValid() {
			r.c.failure = nil
		}
	})
}

// linkChanged has the mapping looked at anew, whatever the back-off.
func (r *running) linkChanged(what string) {
	r.c.log.Info("network changed", "what", what)
	if err := r.findLocal(); err != nil {
		r.c.log.Warn("keep the old policy", "err", err)
	}
	r.servers.restart()
	r.machine.SetPolicy(r.policy)
	r.locate()
	r.machine.LinkChanged(time.Now(), &r.own.out)
}

// serverName is the server in use, as configured.
func (r *running) serverName() string { return r.servers.list[r.servers.inUse].Primary }

func (r *running) state() State {
	s := State{
		ClientState: r.machine.Snapshot(), ServerName: r.serverName(), Port: r.c.cfg.Port,
		Local: r.local,
	}
	if r.socket != nil {
		s.Socket = r.socket.Stats()
	}
	if d, ok := r.device.(interface{ Drops() map[string]uint64 }); ok {
		s.HostDrops = d.Drops()
	}
	if d, ok := r.device.(*stack.Stack); ok {
		s.HostRetransmits = d.Retransmits()
	}
	return s
}

package natprobe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"shipworm/natprobe/report"
)

// A Prober probes as often as it is told, within its limits on packets.
type Prober struct {
	cfg Config
	// route tells the address to send from; tests have others than the system's.
	route func(to netip.AddrPort) (netip.Addr, error)
	mu    sync.Mutex // one run at a time
	pace  *pacer
}

// New returns a prober, or every problem of the configuration.
func New(c Config) (*Prober, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.Servers = slices.Clone(c.Servers)
	for i, s := range c.Servers {
		c.Servers[i] = unmap(s)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Listen == nil && c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	return &Prober{cfg: c, route: route}, nil
}

// Run probes once: over IPv4, then over IPv6, as far as there are servers and
// routes to them. It blocks, and leaves no socket and no goroutine behind. That no server answers
// is a result, not an error. Concurrent runs wait for each other.
func (p *Prober) Run(ctx context.Context) (*report.Report, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var four, six []netip.AddrPort
	for _, s := range p.cfg.Servers {
		if s.Addr().Is4() {
			four = append(four, s)
		} else {
			six = append(six, s)
		}
	}
	if len(four) == 0 {
		return p.family(ctx, six)
	}
	r, err := p.family(ctx, four)
	if err != nil && len(six) > 0 && ctx.Err() == nil {
		r, v6err := p.family(ctx, six)
		if v6err != nil {
			return nil, errors.Join(err, v6err)
		}
		r.Note("ipv4", err.Error())
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	if r.Silence != report.Answered && p.cfg.Teredo != nil {
		if view, err := p.cfg.Teredo(ctx); err != nil {
			r.Note("silence", "Teredo does not know either: "+err.Error())
		} else if view != nil {
			view.Time, view.Servers = r.Time, append(r.Servers, view.Servers...)
			view.Duration, view.Packets = report.Duration(time.Since(r.Time)), r.Packets
			r = view
		}
	}
	if len(six) > 0 {
		if r.IPv6, err = p.family(ctx, six); err != nil && ctx.Err() == nil {
			r.Note("ipv6", err.Error()) // a host without IPv6 is nothing special
			err = nil
		}
	}
	return r, err
}

// family probes over one address family, in as many passes as it takes.
func (p *Prober) family(ctx context.Context, servers []netip.AddrPort) (r *report.Report, err error) {
	c := p.cfg
	c.Servers = servers
	for _, c.Tests = range p.cfg.Tests.passes() {
		next, err := p.pass(ctx, c)
		if err != nil {
			return nil, err
		}
		if r == nil {
			r, c.AskWAN = next, nil
		} else {
			addLifetimes(r, next)
		}
		if r.Silence != report.Answered {
			break
		}
	}
	return r, nil
}

// pass is one run of a machine.
func (p *Prober) pass(ctx context.Context, c Config) (*report.Report, error) {
	if to := c.Servers[0]; !c.Local.IsValid() || c.Local.Is4() != to.Addr().Is4() {
		local, err := p.route(to)
		if err != nil {
			return nil, fmt.Errorf("natprobe: no way to %s: %w", to, err)
		}
		c.Local = local
	}
	now := time.Now()
	if p.pace == nil {
		p.pace = newPacer(now)
	}
	d := &driver{m: newMachine(c, p.pace), cfg: c, inbox: make(chan datagram), icmp: make(chan complaint), dialed: make(chan tcpAnswer, 1)}
	ctx, d.cancel = context.WithCancel(ctx)
	defer d.end()
	return d.run(ctx)
}

// route returns the address from which the system would send to a server. It
// sends nothing.
func route(to netip.AddrPort) (netip.Addr, error) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return netip.Addr{}, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}

// A driver is one run of a machine. The goroutine of run owns the machine;
// each socket has one that reads.
type driver struct {
	m       *machine
	cfg     Config
	cancel  context.CancelFunc
	conns   []net.PacketConn // nil where opening failed
	inbox   chan datagram
	icmp    chan complaint
	dialed  chan tcpAnswer
	wg      sync.WaitGroup
	sent    int
	sendErr error // the first one
}

type datagram struct {
	at   time.Time
	sock int
	from netip.AddrPort
	data []byte
}

type complaint struct {
	sock int
	icmpError
}

func (d *driver) run(ctx context.Context) (*report.Report, error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	d.m.start(time.Now())
	var wan chan netip.Addr
	for {
		if err := d.act(ctx); err != nil {
			return nil, err
		}
		if wan == nil && d.cfg.AskWAN != nil && d.cfg.Local.Is4() && !d.cfg.WAN.IsValid() && d.m.translated() == report.Yes {
			wan = make(chan netip.Addr, 1)
			d.wg.Go(func() { wan <- d.cfg.AskWAN(ctx) })
		}
		if d.m.done() {
			break
		}
		var alarm <-chan time.Time
		at, ok := d.m.next()
		if ok {
			timer.Reset(time.Until(at))
			alarm = timer.C
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case g := <-d.inbox:
			d.receive(g)
		case e := <-d.icmp:
			d.unreachable(e)
		case t := <-d.dialed:
			d.m.dialed(t)
		case <-alarm:
			d.drain(time.Since(at))
			d.m.tick(time.Now())
		}
	}
	if d.sent == 0 && d.sendErr != nil {
		return nil, fmt.Errorf("natprobe: nothing could be sent: %w", d.sendErr)
	}
	if wan != nil {
		select {
		case d.m.cfg.WAN = <-wan:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return d.m.report(), nil
}

func (d *driver) receive(g datagram) {
	d.cfg.Logger.Debug("received", "socket", g.sock, "from", g.from, "bytes", len(g.data))
	d.m.receive(g.at, g.sock, g.from, g.data)
}

func (d *driver) unreachable(e complaint) {
	d.cfg.Logger.Debug("ICMP error", "socket", e.sock, "about", e.to, "from", e.from)
	d.m.unreachable(time.Now(), e.sock, e.icmpError)
}

// drain takes what arrived already, before its time is found to be over: on a
// busy machine those that read may be as late as this goroutine was.
func (d *driver) drain(late time.Duration) {
	quiet := time.NewTimer(min(max(late, minGrace), maxGrace))
	defer quiet.Stop()
	for {
		select {
		case g := <-d.inbox:
			d.receive(g)
		case e := <-d.icmp:
			d.unreachable(e)
		case <-quiet.C:
			return
		}
	}
}

// Bounds of the time that those that read get to notice what has arrived.
const minGrace, maxGrace = ms / 2, 20 * ms

// act does what the machine asks for. It fails if a first socket does.
func (d *driver) act(ctx context.Context) error {
	for {
		actions := d.m.actions()
		if len(actions) == 0 {
			return nil
		}
		for _, a := range actions {
			switch a.kind {
			case actOpen:
				if err := d.open(ctx, a); err != nil && a.port == 0 && a.options == (options{}) {
					return fmt.Errorf("natprobe: opening a socket: %w", err)
				}
			case actSend:
				d.send(a)
			case actDial:
				if d.cfg.Dial != nil {
					d.wg.Go(func() { d.dial(ctx, a.to) })
				}
			}
		}
		d.m.tick(time.Now())
	}
}

func (d *driver) open(ctx context.Context, a action) error {
	local := netip.AddrPortFrom(d.cfg.Local, a.port)
	listen := d.cfg.Listen
	if listen == nil {
		listen = func(ctx context.Context, local netip.AddrPort) (net.PacketConn, error) {
			var c net.ListenConfig
			return c.ListenPacket(ctx, "udp", local.String())
		}
	}
	c, err := listen(ctx, local)
	d.conns = append(d.conns, c)
	if err == nil {
		if err = tune(c, a.options); err == errUnsupported && a.options == (options{}) {
			err = nil // it will do without ICMP errors
		} else if err != nil {
			c.Close()
		}
	}
	if err != nil {
		d.conns[a.sock] = nil
		d.m.opened(a.sock, netip.AddrPort{}, err)
		return err
	}
	if u, ok := c.LocalAddr().(*net.UDPAddr); ok {
		local = netip.AddrPortFrom(local.Addr(), u.AddrPort().Port())
	}
	d.m.opened(a.sock, local, nil)
	d.wg.Go(func() { d.read(ctx, a.sock, c) })
	return nil
}

func (d *driver) read(ctx context.Context, sock int, c net.PacketConn) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := c.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			return
		}
		if err != nil {
			// An ICMP error about an earlier packet.
			for _, e := range icmpErrors(c) {
				select {
				case d.icmp <- complaint{sock, e}:
				case <-ctx.Done():
					return
				}
			}
			continue
		}
		u, ok := from.(*net.UDPAddr)
		if !ok {
			continue
		}
		select {
		case d.inbox <- datagram{time.Now(), sock, u.AddrPort(), slices.Clone(buf[:n])}:
		case <-ctx.Done():
			return
		}
	}
}

func (d *driver) send(a action) {
	c := d.conns[a.sock]
	if c == nil {
		return
	}
	d.cfg.Logger.Debug("send", "socket", a.sock, "to", a.to, "bytes", len(a.data))
	_, err := c.WriteTo(a.data, net.UDPAddrFromAddrPort(a.to))
	if err != nil {
		// What Linux returns first may be an ICMP error about an earlier packet.
		_, err = c.WriteTo(a.data, net.UDPAddrFromAddrPort(a.to))
	}
	if err != nil {
		if d.sendErr == nil {
			d.sendErr = err
		}
		return
	}
	d.sent++
}

// dial tells what a host answers over TCP.
func (d *driver) dial(ctx context.Context, to netip.AddrPort) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	answer := tcpSilent
	c, err := d.cfg.Dial(ctx, "tcp", to.String())
	switch {
	case err == nil:
		c.Close()
		answer = tcpOpen
	case refused(err):
		answer = tcpRefused
	}
	select {
	case d.dialed <- answer:
	case <-ctx.Done():
	}
}

// dialTimeout ends with the wait for UDP.
const dialTimeout = 1300 * ms

// end leaves nothing behind.
func (d *driver) end() {
	d.cancel()
	for _, c := range d.conns {
		if c != nil {
			c.Close()
		}
	}
	d.wg.Wait()
}

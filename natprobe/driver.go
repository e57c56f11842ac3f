package natprobe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"shipworm/natprobe/report"
)

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

// drive runs a machine to its end. If ctx ends before, the report says what is
// known by then.
func drive(ctx context.Context, m *machine) (*report.Report, error) {
	d := &driver{m: m, cfg: m.cfg, inbox: make(chan datagram), icmp: make(chan complaint), dialed: make(chan tcpAnswer, 1)}
	ctx, d.cancel = context.WithCancel(ctx)
	defer d.end()
	return d.run(ctx)
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
			d.wg.Go(func() { wan <- d.cfg.AskWAN(ctx, d.cfg.Local) })
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
			d.m.advance(time.Now())
			return d.m.report(), context.Cause(ctx)
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
			return d.m.report(), context.Cause(ctx)
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
	if a.second {
		local = netip.AddrPortFrom(d.cfg.Second, a.port)
	}
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
		if err = tune(c, a.options); err == errUnsupported && a.ttl == 0 && !a.whole {
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

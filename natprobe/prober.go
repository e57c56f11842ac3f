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
// routes to them. It blocks, and leaves no socket and no goroutine behind. That
// no server answers is a result, not an error. If ctx ends first, the report,
// unless it is nil, has what was known by then, and the error is that of ctx.
// Concurrent runs wait for each other.
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
		if r == nil {
			return nil, errors.Join(err, v6err)
		}
		r.Note("ipv4", err.Error())
		return r, v6err
	}
	if err != nil {
		return r, err
	}
	if r.Silence != report.Answered && p.cfg.Teredo != nil {
		view, err := p.cfg.Teredo(ctx)
		switch {
		case ctx.Err() != nil:
			r.Interrupted = true
			return r, context.Cause(ctx)
		case err != nil:
			r.Note("silence", "Teredo does not know either: "+err.Error())
		case view != nil:
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
		r.Interrupted = err != nil
	}
	return r, err
}

// family probes over one address family, in as many passes as it takes.
func (p *Prober) family(ctx context.Context, servers []netip.AddrPort) (r *report.Report, err error) {
	c := p.cfg
	c.Servers = servers
	for _, c.Tests = range p.cfg.Tests.passes() {
		next, err := p.pass(ctx, c)
		switch {
		case r == nil:
			r, c.AskWAN = next, nil
		case next != nil:
			addLifetimes(r, next)
		}
		if err != nil {
			return r, err
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
	return drive(ctx, newMachine(c, p.pace))
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

package lab

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"

	"shipworm/testnet/firewall"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
)

// Config is the laboratory's own configuration. The zero value works.
type Config struct {
	// Seed decides every random choice of links and NATs. The order of
	// packets is that of the real programs, so a seed repeats a run only as
	// far as they do.
	Seed uint64
	// Logger hears of hosts and of trouble; nil discards.
	Logger *slog.Logger
}

// A Lab is an Internet in miniature. Its methods are safe for concurrent use.
//
// While every line is perfect and there is no trace, what a program sends in
// one go crosses the routers in one piece of up to 64 KiB, as it would between
// two virtual machines, and is checksummed by nobody. As soon as a line has a
// property, a trace is set or the network is changed, there are only packets
// such as a wire carries.
type Lab struct {
	ctx    context.Context
	cancel context.CancelFunc
	hub    *hub
	log    *slog.Logger

	close func() error

	mu      sync.Mutex
	hosts   []*Host        // none is added once ctx is done
	servers sync.WaitGroup // of Reflect; the same
	groups  map[int]bool   // leaders of Cmds that have not been waited for
}

// New returns a laboratory without hosts. It returns [ErrOutside] in a process
// that did not come through [Enter]. Close must follow.
func New(cfg Config) (*Lab, error) {
	if !entered() {
		return nil, ErrOutside
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	hub, err := newHub(cfg.Seed, log)
	if err != nil {
		return nil, err
	}
	l := &Lab{hub: hub, log: log, groups: make(map[int]bool)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.close = sync.OnceValue(l.shutdown)
	return l, nil
}

// Host adds a host with public addresses of one or both families, directly on
// the Internet, behind an access line. Its name resolves to the first address of
// each family on every host.
func (l *Lab) Host(name string, line link.Config, addrs ...netip.Addr) (*Host, error) {
	return l.host(name, addrs, netip.Addr{}, netip.Addr{}, line, func() (*sim.Host, error) {
		return l.hub.world.Host(name, line, addrs...)
	})
}

// Router adds a NAT router on the Internet; hosts are added behind it. The
// uplink is its line to the Internet.
func (l *Lab) Router(name string, cfg nat.Config, uplink link.Config) (*Router, error) {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	if !perfect(uplink) {
		l.hub.impair()
	}
	r, err := l.hub.world.Router(name, cfg, uplink)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	return &Router{lab: l, sim: r}, nil
}

// SetTrace has f called with every event of the world: each packet on each of
// its hops, and why it was dropped. f is called under the laboratory's lock, so
// it must be quick and may not call the laboratory. Nil ends it.
func (l *Lab) SetTrace(f func(sim.Event)) {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	l.hub.world.SetTrace(f)
	l.hub.traced = f != nil
}

// Change calls f with the simulated world, to watch its lines or have something
// happen at a time. f is called under the laboratory's lock: it must be quick
// and may not call the laboratory. From then on every packet crosses the lines
// by itself, see [Lab].
func (l *Lab) Change(f func(*sim.World) error) error {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	l.hub.impair()
	err := f(l.hub.world)
	l.hub.advance()
	return err
}

// perfect reports whether a line leaves every packet as and when it is.
func perfect(c link.Config) bool {
	c.Seed = 0
	return c == link.Config{}
}

// Dropped returns the number of packets that a host's kernel refused to take.
func (l *Lab) Dropped() uint64 { return l.hub.dropped.Load() }

// A Router is a NAT of the laboratory. Its methods are safe for concurrent use.
type Router struct {
	lab *Lab
	sim *sim.Router

	gateway netip.Addr // on the LAN; under the hub's lock
}

// Delegate has an IPv6 prefix routed to the router's LAN, see sim.Router, and
// must come before the LAN's hosts get addresses of it. A firewall, unless it is
// nil, stands before them.
func (r *Router) Delegate(prefix netip.Prefix, fw *firewall.Config) error {
	r.lab.hub.mu.Lock()
	defer r.lab.hub.mu.Unlock()
	if fw != nil {
		f, err := firewall.New(*fw)
		if err != nil {
			return fmt.Errorf("lab: router %s: %w", r.sim.Name(), err)
		}
		r.sim.SetFirewall(f)
	}
	if err := r.sim.Delegate(prefix); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return nil
}

// Host adds a host behind the router, in the /24 network of its IPv4 address,
// in the delegated prefix with its IPv6 address, or both. The first address of
// a network is the router's own, and answers pings. A host with an IPv6 address
// has a link-local one too, which ends with the same 64 bits.
func (r *Router) Host(name string, line link.Config, addr netip.Addr, more ...netip.Addr) (*Host, error) {
	addrs := append([]netip.Addr{addr}, more...)
	var gateway, gateway6 netip.Addr
	for _, a := range addrs {
		switch {
		case a.Is4() && !gateway.IsValid():
			gateway = netip.PrefixFrom(a, lanBits).Masked().Addr().Next()
		case a.Is6() && !gateway6.IsValid():
			r.lab.hub.mu.Lock()
			prefix := r.sim.Prefix()
			r.lab.hub.mu.Unlock()
			if prefix.IsValid() {
				gateway6 = prefix.Addr().Next()
			}
			b := a.As16()
			copy(b[:8], []byte{0xfe, 0x80, 0, 0, 0, 0, 0, 0})
			addrs = append(addrs, netip.AddrFrom16(b))
		}
	}
	return r.lab.host(name, addrs, gateway, gateway6, line, func() (*sim.Host, error) {
		if gateway.IsValid() && r.gateway.IsValid() && r.gateway != gateway {
			return nil, fmt.Errorf("router %s: host %s %v is not on its network: %w", r.sim.Name(), name, addr, sim.ErrBadAddress)
		}
		host, err := r.sim.Host(name, line, addrs[0], addrs[1:]...)
		if err != nil || !gateway.IsValid() || r.gateway.IsValid() {
			return host, err
		}
		return host, r.setGateway(gateway)
	})
}

// SetGateway gives the router an IPv4 address on its LAN, which it otherwise has
// from its first host on: the first of the /24 network.
func (r *Router) SetGateway(a netip.Addr) error {
	r.lab.hub.mu.Lock()
	defer r.lab.hub.mu.Unlock()
	if err := r.setGateway(a); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return nil
}

func (r *Router) setGateway(a netip.Addr) error {
	r.gateway = a
	return r.sim.SetGateway(a)
}

// Router adds a NAT router behind this one, as carriers do.
func (r *Router) Router(name string, cfg nat.Config, uplink link.Config) (*Router, error) {
	r.lab.hub.mu.Lock()
	defer r.lab.hub.mu.Unlock()
	if !perfect(uplink) {
		r.lab.hub.impair()
	}
	inner, err := r.sim.Router(name, cfg, uplink)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	return &Router{lab: r.lab, sim: inner}, nil
}

// Change calls f with the simulated router, to reboot its NAT, give it another
// address or change its line while programs run. f is called under the
// laboratory's lock: it must be quick and may not call the laboratory. From
// then on every packet crosses the lines by itself, see [Lab].
func (r *Router) Change(f func(*sim.Router) error) error {
	return r.lab.Change(func(*sim.World) error { return f(r.sim) })
}

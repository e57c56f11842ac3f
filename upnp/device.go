package upnp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"shipworm/upnp/igd"
)

// device is an Internet gateway device with the connection to use.
type device struct {
	*igd.Device
	wan      *igd.Service // nil where only the firewall is wanted
	external netip.Addr   // invalid if the device told no usable one
	double   bool
	took     time.Duration // from the search's beginning
	target   string        // of the search that it answered
	boot     string        // its start, "" if it does not tell
}

const (
	// maxFetches devices are tried at a time.
	maxFetches = 4
	// findTime is for a search with everything that follows from its answers.
	findTime = 2500 * time.Millisecond
	// patience is how long the gateway itself is waited for when another device
	// has answered, and shortPatience how long a device with a public address
	// when the gateway has answered without one.
	patience      = time.Second
	shortPatience = 200 * time.Millisecond
)

// find searches for a device and returns the best: the gateway itself with a
// usable address if there is one, else what came first.
func (m *Mapper) find(ctx context.Context, g Gateway) (*device, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, findTime)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	answers, devices := make(chan found), make(chan *device)
	all.Go(func() {
		if err := m.search(ctx, g, answers); err != nil {
			m.cfg.Logger.Debug("search", "err", err)
		}
	})
	var workers sync.WaitGroup
	for range maxFetches {
		workers.Go(func() {
			for a := range answers {
				d, err := m.examine(ctx, g, a.location)
				if err != nil {
					m.cfg.Logger.Debug("device refused", "location", a.location.String(), "err", err)
					continue
				}
				d.took, d.target, d.boot = time.Since(start), a.target, a.boot
				select {
				case devices <- d:
				case <-ctx.Done():
				}
			}
		})
	}
	all.Go(func() { workers.Wait(); close(devices) })

	var best *device
	var enough <-chan time.Time
	for {
		select {
		case d, ok := <-devices:
			if !ok {
				if best == nil {
					return nil, ErrNoDevice
				}
				return best, nil
			}
			if best != nil && d.rank(g) <= best.rank(g) {
				continue
			}
			switch best = d; {
			case d.rank(g) == rankFull:
				return best, nil
			case d.rank(g) >= rankGateway:
				enough = time.After(shortPatience)
			default:
				enough = time.After(patience - time.Since(start))
			}
		case <-enough:
			return best, nil
		case <-ctx.Done():
			if best == nil {
				return nil, ErrNoDevice
			}
			return best, nil
		}
	}
}

const (
	rankGateway = 2
	rankFull    = 3
)

// rank orders devices: the gateway counts more than the address.
func (d *device) rank(g Gateway) int {
	n := 0
	if d.Addr.WithZone("") == g.Addr.WithZone("") || d.Addr.Is6() {
		n += rankGateway
	}
	if d.external.IsValid() && !d.double || d.wan == nil {
		n++
	}
	return n
}

// examine reads a description and chooses the connection that is up and has the
// best address.
func (m *Mapper) examine(ctx context.Context, g Gateway, location *url.URL) (*device, error) {
	desc, err := igd.Describe(ctx, location, func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		return m.cfg.Host.Dial(ctx, "tcp", g.Local.Addr(), netip.AddrPortFrom(g.scoped(to.Addr()), to.Port()))
	})
	if err != nil {
		return nil, err
	}
	d := &device{Device: desc}
	if g.Local.Addr().Is6() {
		if desc.Firewall == nil {
			return nil, errors.New("no WANIPv6FirewallControl")
		}
		return d, nil
	}
	var errs []error
	for _, s := range desc.Connections[:min(len(desc.Connections), maxFetches)] {
		var ip netip.Addr
		var bad error
		var second sync.WaitGroup
		second.Go(func() { ip, bad = s.ExternalAddress(ctx) })
		up, err := s.Connected(ctx)
		second.Wait()
		if err == nil && !up {
			err = errors.New("not connected")
		}
		if err != nil && !errors.As(err, new(*igd.Fault)) { // some do not know the question
			errs = append(errs, fmt.Errorf("%s: %w", s.Type, err))
			continue
		}
		if bad != nil { // some tell no address, and map nonetheless
			errs = append(errs, fmt.Errorf("%s: %w", s.Type, bad))
		}
		v := judge(ip, g.onLink())
		if v == unusable {
			ip = netip.Addr{}
		}
		if d.wan == nil || !d.external.IsValid() && ip.IsValid() || d.double && v == public {
			d.wan, d.external, d.double = s, ip, v == inner
		}
		if v == public {
			break
		}
	}
	if d.wan == nil {
		return nil, errors.Join(append(errs, ErrNoDevice)...)
	}
	return d, nil
}

package upnp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"shipworm/upnp/ssdp"
)

// Bounds of a search.
const (
	searchTime    = 2 * time.Second
	maxCandidates = 16
)

// targets is what is searched for, first what a router of any version answers.
// One socket asks, a little at a time: some routers stumble over two searches.
func targets() []string {
	return []string{
		"urn:schemas-upnp-org:device:InternetGatewayDevice:1",
		"urn:schemas-upnp-org:device:InternetGatewayDevice:2",
		"urn:schemas-upnp-org:service:WANIPConnection:1",
		"urn:schemas-upnp-org:service:WANPPPConnection:1",
		"upnp:rootdevice",
	}
}

// When the targets are searched for. The gateway is asked directly, too, which
// spares the random delay of an answer to a multicast.
const (
	stagger     = 20 * time.Millisecond
	searchAgain = 400 * time.Millisecond
)

// found is an answer to a search that may be followed.
type found struct {
	location *url.URL
	target   string // of the search
	boot     string // the device's start, "" if it does not tell
}

// search sends the answers, one for each address of a description, until it has
// maxCandidates, the time is over or ctx is done. It closes to at the end.
func (m *Mapper) search(ctx context.Context, g Gateway, to chan<- found) error {
	defer close(to)
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	c, err := m.cfg.Host.Listen(ctx, g)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })()
	asked := make(chan error, 1)
	go func() { asked <- askDevices(ctx, c, g) }()
	defer func() { cancel(); <-asked }()

	var seen []string
	buf := make([]byte, ssdp.MaxLen+1)
	for len(seen) < maxCandidates {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		f, err := candidate(buf[:n], from, g)
		if err != nil {
			m.refused.Add(1)
			m.cfg.Logger.Debug("search: answer refused", "from", from, "err", err)
			continue
		}
		if slices.Contains(seen, f.location.String()) {
			continue
		}
		seen = append(seen, f.location.String())
		select {
		case to <- f:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// askDevices sends the searches.
func askDevices(ctx context.Context, c net.PacketConn, g Gateway) error {
	group := ssdp.Group4()
	if g.Addr.Is6() {
		group = ssdp.Group6(g.Interface)
	}
	direct := netip.AddrPortFrom(g.Addr, ssdp.Port)
	for start := time.Now(); ; {
		for i, target := range targets() {
			for _, to := range []netip.AddrPort{direct, group} {
				if i > 0 && to == direct {
					continue
				}
				host := netip.AddrPortFrom(to.Addr().WithZone(""), to.Port())
				// An unreachable group leaves the gateway, and the reverse.
				_, _ = c.WriteTo(ssdp.AppendSearch(nil, host, target, 1), net.UDPAddrFromAddrPort(to))
			}
			if err := sleep(ctx, stagger); err != nil {
				return err
			}
		}
		if err := sleep(ctx, searchAgain-time.Since(start)%searchAgain); err != nil {
			return err
		}
	}
}

var errNotAsked = errors.New("not an answer to what was asked")

// candidate returns an answer whose description may be fetched.
func candidate(b []byte, from net.Addr, g Gateway) (found, error) {
	ua, ok := from.(*net.UDPAddr)
	if !ok {
		return found{}, errNotAsked
	}
	msg, err := ssdp.Parse(b)
	if err != nil {
		return found{}, err
	}
	if msg.Kind != ssdp.Answer || !slices.Contains(targets(), msg.Target) {
		return found{}, errNotAsked
	}
	u, err := ssdp.Locate(msg.Location, ua.AddrPort().Addr().Unmap(), g.onLink())
	if err == nil && u.Hostname() == g.Local.Addr().String() {
		return found{}, errNotAsked // this host itself
	}
	return found{u, msg.Target, msg.Boot}, err
}

// bootWait is how long a device is waited for that is asked for a sign of its
// last start.
const bootWait = 250 * time.Millisecond

// boot asks a device, by one packet that it may answer with one, for the sign
// of its last start. It is "" if there is none.
func (m *Mapper) boot(ctx context.Context, g Gateway, d *device) string {
	ctx, cancel := context.WithTimeout(ctx, bootWait)
	defer cancel()
	to := netip.AddrPortFrom(g.scoped(d.Addr), ssdp.Port)
	c, err := m.cfg.Host.Dial(ctx, "udp", g.Local.Addr(), to)
	if err != nil {
		return ""
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })()
	host := netip.AddrPortFrom(d.Addr.WithZone(""), ssdp.Port)
	if _, err := c.Write(ssdp.AppendSearch(nil, host, d.target, 1)); err != nil {
		return ""
	}
	buf := make([]byte, ssdp.MaxLen+1)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return ""
		}
		if a, err := ssdp.Parse(buf[:n]); err == nil && a.Kind == ssdp.Answer && a.Target == d.target {
			return a.Boot
		}
	}
}

// sleep waits, or returns ctx's error at once when that ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

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

// search sends the addresses of descriptions, each once, until it has
// maxCandidates, the time is over or ctx is done. It closes found at the end.
func (m *Mapper) search(ctx context.Context, g Gateway, found chan<- *url.URL) error {
	defer close(found)
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
		u, err := candidate(buf[:n], from, g)
		if err != nil {
			m.refused.Add(1)
			m.cfg.Logger.Debug("search: answer refused", "from", from, "err", err)
			continue
		}
		if slices.Contains(seen, u.String()) {
			continue
		}
		seen = append(seen, u.String())
		select {
		case found <- u:
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

// candidate returns the address of a description that may be fetched.
func candidate(b []byte, from net.Addr, g Gateway) (*url.URL, error) {
	ua, ok := from.(*net.UDPAddr)
	if !ok {
		return nil, errNotAsked
	}
	msg, err := ssdp.Parse(b)
	if err != nil {
		return nil, err
	}
	if msg.Kind != ssdp.Answer || !slices.Contains(targets(), msg.Target) {
		return nil, errNotAsked
	}
	u, err := ssdp.Locate(msg.Location, ua.AddrPort().Addr().Unmap(), g.onLink())
	if err == nil && u.Hostname() == g.Local.Addr().String() {
		return nil, errNotAsked // this host itself
	}
	return u, err
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

package upnp

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"shipworm/upnp/natpmp"
	"shipworm/upnp/pcp"
	"shipworm/upnp/ssdp"
)

// listen hears the gateway's announcements for a keeper, until the function it
// returns is called. Where a group cannot be heard, renewals have to do.
func (m *Mapper) listen(ctx context.Context, g Gateway, k *keeper) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	control := netip.AddrPortFrom(netip.AddrFrom4([4]byte{224, 0, 0, 1}), pcp.ClientPort)
	device := ssdp.Group4()
	if g.Addr.Is6() {
		control = netip.AddrPortFrom(netip.IPv6LinkLocalAllNodes(), pcp.ClientPort)
		device = ssdp.Group6("")
	}
	for _, e := range []struct {
		group netip.AddrPort
		means func([]byte) bool
	}{{control, announcesControl}, {device, announcesDevice}} {
		c, err := m.cfg.Host.ListenGroup(ctx, g, e.group)
		if err != nil {
			m.cfg.Logger.Debug("announcements are not heard", "group", e.group, "err", err)
			continue
		}
		all.Go(func() {
			defer c.Close()
			defer context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })()
			buf := make([]byte, ssdp.MaxLen+1)
			for {
				n, from, err := c.ReadFrom(buf)
				if err != nil {
					return
				}
				ua, ok := from.(*net.UDPAddr)
				if ok && ua.AddrPort().Addr().Unmap().WithZone("") == g.Addr.WithZone("") && e.means(buf[:n]) {
					m.poke(k)
				}
			}
		})
	}
	return func() { cancel(); all.Wait() }
}

// announcesControl is true of what a PCP or NAT-PMP server multicasts when it
// has started (RFC 6887, 14.1; RFC 6886, 3.2.1).
func announcesControl(b []byte) bool {
	if r, err := pcp.ParseResponse(b); err == nil {
		return r.Op == pcp.Announce && r.Result == pcp.Success
	}
	r, err := natpmp.ParseResponse(b)
	return err == nil && r.Op == natpmp.Address && r.Result == natpmp.Success
}

// announcesDevice is true of what a gateway device multicasts when it is there.
func announcesDevice(b []byte) bool {
	m, err := ssdp.Parse(b)
	return err == nil && m.Kind == ssdp.Alive && strings.Contains(m.Target, ":InternetGatewayDevice:")
}

// moment is a random wait of up to half a second before an announcement is
// acted upon. RFC 6887, 14.1.3 has up to five, for networks of very many hosts;
// a session in progress should not wait that long.
func (m *Mapper) moment() time.Duration {
	var b [2]byte
	if _, err := io.ReadFull(m.cfg.Rand, b[:]); err != nil {
		return 0
	}
	return time.Duration(binary.BigEndian.Uint16(b[:])) * 500 * time.Millisecond / 65536
}

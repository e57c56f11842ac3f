package upnp

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// System returns the real host.
func System() Host { return system{} }

type system struct{}

// Dial implements Host.
func (system) Dial(ctx context.Context, network string, local netip.Addr, remote netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0))}
	if network == "tcp" {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	return d.DialContext(ctx, network, remote.String())
}

// Listen implements Host. Multicast leaves through the gateway's interface,
// whatever the routes say: a VPN's must not take a search along.
func (system) Listen(ctx context.Context, g Gateway) (net.PacketConn, error) {
	var lc net.ListenConfig
	c, err := lc.ListenPacket(ctx, "udp", netip.AddrPortFrom(g.Local.Addr(), 0).String())
	if err != nil {
		return nil, err
	}
	ifi, err := net.InterfaceByName(g.Interface)
	if err == nil {
		if g.Local.Addr().Is4() {
			p := ipv4.NewPacketConn(c)
			err = p.SetMulticastInterface(ifi)
			_ = p.SetMulticastTTL(2) // UPnP Device Architecture 1.1, 1.3.2
		} else {
			err = ipv6.NewPacketConn(c).SetMulticastInterface(ifi)
		}
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Bound implements Host: it tries to take the port. Where addresses of one
// port can be shared by default, the answer is always yes.
func (system) Bound(p Protocol, local netip.AddrPort) bool {
	if !bindExcludes {
		return true
	}
	if p == TCP {
		l, err := net.Listen("tcp", local.String())
		if err == nil {
			l.Close()
		}
		return err != nil
	}
	c, err := net.ListenPacket("udp", local.String())
	if err == nil {
		c.Close()
	}
	return err != nil
}

// localTo returns the interface's address that shares a network with the
// gateway, or, for a link-local IPv6 gateway, want or a global address.
func localTo(ifi *net.Interface, gateway, want netip.Addr) (netip.Prefix, error) {
	addrs, err := ifi.Addrs()
	if err != nil {
		return netip.Prefix{}, err
	}
	var best netip.Prefix
	for _, a := range addrs {
		ipnet, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(ipnet.IP)
		if ip = ip.Unmap(); !ok || ip.Is4() != gateway.Is4() {
			continue
		}
		ones, _ := ipnet.Mask.Size()
		p := netip.PrefixFrom(ip, ones)
		switch {
		case ip == want:
			return p, nil
		case ip.Is6() && (!ip.IsGlobalUnicast() || ip.IsPrivate()):
		case ip.Is6() || p.Contains(gateway):
			if !best.IsValid() {
				best = p
			}
		}
	}
	if !best.IsValid() || want.IsValid() && !want.IsUnspecified() {
		return netip.Prefix{}, fmt.Errorf("%w: no address of %s is toward %v", ErrNoGateway, ifi.Name, gateway)
	}
	return best, nil
}

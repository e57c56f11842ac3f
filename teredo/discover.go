package teredo

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"shipworm/teredo/engine"
	"shipworm/teredo/packet"
	"shipworm/teredo/udp"
)

// hearLink joins the group of local discovery on the interface that leads to
// the server, and returns what arrives there, or nil if there is nothing to be
// heard. A client that moves to another interface is not heard there: it has
// its server and its peers.
func (r *running) hearLink(ctx context.Context) *reader {
	if !r.c.cfg.LocalDiscovery || r.c.cfg.Listen != nil {
		return nil
	}
	socket, err := joinGroup(r.local.Addr())
	if err != nil {
		r.c.log.Warn("no local discovery", "err", err)
		return nil
	}
	link := newReader(1, packet.DefaultSize)
	context.AfterFunc(ctx, func() { socket.Close() })
	r.helpers.Go(func() { _ = link.run(ctx, 0, socket.ReadBatch) }) // the tunnel goes on without
	return link
}

// joinGroup opens a socket for the announcements on the link of an own address.
func joinGroup(own netip.Addr) (udp.Socket, error) {
	ifaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, i := range ifaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			if ip, _ := netip.AddrFromSlice(n.IP); ip.Unmap() != own {
				continue
			}
			pc, err := net.ListenMulticastUDP("udp4", &i, net.UDPAddrFromAddrPort(engine.LocalGroup()))
			if err != nil {
				return nil, err
			}
			return udp.From(pc, udp.Config{}), nil
		}
	}
	return nil, fmt.Errorf("no interface has the address %v", own)
}

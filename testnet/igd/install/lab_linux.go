package install

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"

	"shipworm/testnet/firewall"
	"shipworm/testnet/igd"
	"shipworm/testnet/lab"
	"shipworm/testnet/nat"
)

// The web server's port is that of miniupnpd; one that moves takes the next
// ones. Hosts of a laboratory have one interface.
const (
	webPort = 5000
	device  = "eth0"
)

// A Installed is an igd router in a laboratory.
type Installed struct {
	Router *igd.Router
	Host   *lab.Host
	// Server has the sockets; its Run must be called, and closes them.
	Server *igd.Server
}

// Lab puts an igd router at the gateway address of r, which must have a host,
// or with a profile that is Beside it at the last address of the LAN. name is
// that of the host; trace hears of requests, or is nil. Mappings are forwards of
// r's NAT.
func Lab(r *lab.Router, gateway netip.Addr, name string, p igd.Profile, trace func(igd.Request)) (*Installed, error) {
	d := &Installed{}
	var err error
	if p.Beside {
		d.Host, err = r.Host(name, perfect, last(gateway))
	} else {
		d.Host, err = r.GatewayHost(name)
	}
	if err != nil {
		return nil, err
	}
	d.Router, err = igd.New(time.Now(), igd.Config{
		Profile: p, Gateway: locked{r}, Address: d.Host.Addr(),
		SearchGroup: igd.SearchGroup, ControlGroup: igd.ControlGroup, Trace: trace,
	})
	if err != nil {
		return nil, err
	}
	sockets, err := open(d.Host)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	d.Server = igd.NewServer(d.Router, sockets)
	return d, nil
}

// open opens the sockets on the host, that of the web server too: a client may
// be there before Server.Run is.
func open(h *lab.Host) (s igd.Sockets, err error) {
	port := webPort
	listen := func() (l net.Listener, err error) {
		err = h.Do(func() error {
			l, err = net.Listen("tcp4", netip.AddrPortFrom(h.Addr(), uint16(port)).String())
			return err
		})
		port++
		return l, err
	}
	web, err := listen()
	if err != nil {
		return s, err
	}
	s.Listen = func() (net.Listener, error) {
		if l := web; l != nil {
			web = nil
			return l, nil
		}
		return listen()
	}
	var conns []net.PacketConn
	err = h.Do(func() error {
		for _, local := range []string{fmt.Sprintf("%v:%d", h.Addr(), igd.ControlPort), fmt.Sprintf(":%d", igd.SearchPort), h.Addr().String() + ":0"} {
			c, err := net.ListenPacket("udp4", local)
			if err != nil {
				return err
			}
			conns = append(conns, c)
		}
		if err := join(conns); err != nil || len(h.Addrs()) == 1 {
			return err
		}
		s.Control6, err = net.ListenPacket("udp6", netip.AddrPortFrom(h.Addrs()[1], igd.ControlPort).String())
		return err
	})
	if err != nil {
		web.Close()
		for _, c := range conns {
			c.Close()
		}
		return s, err
	}
	s.Control, s.Search, s.Stranger = conns[0], conns[1], conns[2]
	return s, nil
}

// join lets the sockets send multicast, and the second one hear searches.
func join(conns []net.PacketConn) error {
	i, err := net.InterfaceByName(device)
	if err != nil {
		return err
	}
	for _, c := range conns {
		p := ipv4.NewPacketConn(c)
		if err := errors.Join(p.SetMulticastInterface(i), p.SetMulticastLoopback(false)); err != nil {
			return err
		}
	}
	return ipv4.NewPacketConn(conns[1]).JoinGroup(i, net.UDPAddrFromAddrPort(igd.SearchGroup))
}

// locked is the NAT of a router under the laboratory's lock.
type locked struct{ *lab.Router }

func (g locked) External() (addrs []netip.Addr) {
	_ = g.NAT(func(n *nat.NAT) error { addrs = n.Config().External; return nil })
	return addrs
}

func (g locked) Firewall(f func(*firewall.Firewall)) {
	_ = g.Router.Firewall(func(w *firewall.Firewall) error { f(w); return nil })
}

func (g locked) AddForward(f nat.PortForward) error {
	return g.NAT(func(n *nat.NAT) error { return n.AddForward(f) })
}

func (g locked) RemoveForward(protocol byte, external netip.AddrPort) (ok bool) {
	_ = g.NAT(func(n *nat.NAT) error { ok = n.RemoveForward(protocol, external); return nil })
	return ok
}

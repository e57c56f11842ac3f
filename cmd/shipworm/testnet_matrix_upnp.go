package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"shipworm/testnet/igd"
	"shipworm/testnet/igd/install"
	"shipworm/testnet/matrix"
	"shipworm/testnet/sim"
	"shipworm/upnp"
)

// upnpMethod has B map a port at its router; A sends there. Every router with a
// NAT speaks PCP and NAT-PMP: the table tells what a mapping is worth where
// there is one to be had.
type upnpMethod struct{}

func (upnpMethod) Name() string  { return "upnp" }
func (upnpMethod) Title() string { return "a mapped port (PCP, NAT-PMP)" }

func (upnpMethod) Describe(b []byte) string {
	switch {
	case string(b) == upnpCall:
		return "call"
	case string(b) == upnpAnswer:
		return "answer"
	case len(b) > 0 && b[0] == 2:
		return "PCP"
	case len(b) > 0 && b[0] == 0:
		return "NAT-PMP"
	}
	return "search"
}

// What the ends say, and how often A says it.
const (
	upnpCall, upnpAnswer = "call", "answer"
	upnpRepeat           = 200 * time.Millisecond
)

func (m upnpMethod) Try(ctx context.Context, s *matrix.Stage, ready func()) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer func() { cancel(); running.Wait() }()
	b, err := s.B.ListenPacket(netip.AddrPortFrom(s.B.Addr(), 0))
	if err != nil {
		return err
	}
	defer b.Close()
	local := b.LocalAddr().(*net.UDPAddr).AddrPort()
	target := local
	if s.B.Addr().IsPrivate() {
		if target, err = m.mapped(ctx, s, local, &running); err != nil {
			return err
		}
	}
	a, err := s.A.ListenPacket(netip.AddrPortFrom(s.A.Addr(), 0))
	if err != nil {
		return err
	}
	defer a.Close()
	defer context.AfterFunc(ctx, func() { _ = a.SetDeadline(time.Now()) })()
	running.Go(func() {
		for buf := make([]byte, 16); ; {
			_, from, err := b.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = b.WriteTo([]byte(upnpAnswer), from)
		}
	})
	ready()
	for buf := make([]byte, 16); ctx.Err() == nil; {
		if _, err := a.WriteTo([]byte(upnpCall), net.UDPAddrFromAddrPort(target)); err != nil {
			return err
		}
		_ = a.SetReadDeadline(time.Now().Add(upnpRepeat))
		if n, _, err := a.ReadFrom(buf); err == nil && string(buf[:n]) == upnpAnswer {
			b.Close() // ends its reader, before running is waited for
			return nil
		}
	}
	b.Close()
	return context.Cause(ctx)
}

// mapped returns the external endpoint of B's mapping, which stays until ctx
// ends.
func (upnpMethod) mapped(ctx context.Context, s *matrix.Stage, local netip.AddrPort, running *sync.WaitGroup) (netip.AddrPort, error) {
	profile, _ := igd.Lookup("pcp-and-natpmp")
	router, gateway := s.Router(s.B)
	var err error
	s.World.Do(func() {
		if err = router.SetGateway(gateway); err == nil {
			_, err = install.Sim(s.World, router, gateway, "igd B", profile)
		}
	})
	if err != nil {
		return netip.AddrPort{}, err
	}
	mapper, err := upnp.New(upnp.Config{Host: simHost{s.B, gateway}, Rand: seededRand(s.Seed, 2)})
	if err != nil {
		return netip.AddrPort{}, err
	}
	endpoints := make(chan netip.AddrPort, 1)
	running.Go(func() {
		_ = mapper.Keep(ctx, upnp.Request{Protocol: upnp.UDP, Internal: local}, func(now upnp.Mapping) {
			select {
			case endpoints <- now.External:
			default:
			}
		})
	})
	select {
	case e := <-endpoints:
		return e, nil
	case <-ctx.Done():
		return netip.AddrPort{}, context.Cause(ctx)
	}
}

// simHost is a simulated host as a Mapper sees it.
type simHost struct {
	h       *sim.Host
	gateway netip.Addr
}

func (s simHost) Gateway(netip.Addr) (upnp.Gateway, error) {
	return upnp.Gateway{Addr: s.gateway, Local: netip.PrefixFrom(s.h.Addr(), 24), Interface: "eth0"}, nil
}

func (s simHost) Listen(context.Context, upnp.Gateway) (net.PacketConn, error) {
	return s.h.ListenPacket(netip.AddrPortFrom(s.h.Addr(), 0))
}

// ListenGroup hears nothing: a mapping is younger than any announcement.
func (simHost) ListenGroup(context.Context, upnp.Gateway, netip.AddrPort) (net.PacketConn, error) {
	return nil, errors.ErrUnsupported
}

func (simHost) Bound(upnp.Protocol, netip.AddrPort) bool { return true }

// Dial knows no TCP, as the simulation does not.
func (s simHost) Dial(_ context.Context, network string, local netip.Addr, remote netip.AddrPort) (net.Conn, error) {
	if network != "udp" {
		return nil, errors.ErrUnsupported
	}
	pc, err := s.h.ListenPacket(netip.AddrPortFrom(local, 0))
	if err != nil {
		return nil, err
	}
	return &simUDP{PacketConn: pc, remote: net.UDPAddrFromAddrPort(remote)}, nil
}

// simUDP is a connected socket.
type simUDP struct {
	net.PacketConn
	remote *net.UDPAddr
}

func (c *simUDP) RemoteAddr() net.Addr { return c.remote }

func (c *simUDP) Write(b []byte) (int, error) { return c.WriteTo(b, c.remote) }

func (c *simUDP) Read(b []byte) (int, error) {
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil || from.String() == c.remote.String() {
			return n, err
		}
	}
}

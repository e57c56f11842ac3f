package install

import (
	"net/netip"
	"time"

	"shipworm/testnet/firewall"
	"shipworm/testnet/igd"
	"shipworm/testnet/sim"
)

// A Simulated is an igd router in a simulated network. It is used inside
// World.Do or between calls of Advance, as the world is.
type Simulated struct {
	Router *igd.Router
	Host   *sim.Host

	world          *sim.World
	port, stranger *sim.UDPPort
	due            time.Time // when the next expiry is planned for
}

// Sim puts an igd router at the gateway address of r, or with a profile that is
// Beside it at the last address of the gateway's /24. name is that of the host.
// It announces itself at once. Mappings are forwards of r's NAT.
func Sim(w *sim.World, r *sim.Router, gateway netip.Addr, name string, p igd.Profile) (*Simulated, error) {
	s := &Simulated{world: w}
	var err error
	if p.Beside {
		s.Host, err = r.Host(name, perfect, last(gateway))
	} else {
		s.Host, err = r.GatewayHost(name)
	}
	if err != nil {
		return nil, err
	}
	s.Router, err = igd.New(w.Now(), igd.Config{
		Profile: p, Gateway: own{igd.NAT(r.NAT()), r}, Address: s.Host.Addr(), ControlGroup: igd.ControlGroup, Seed: w.Seed(),
	})
	if err != nil {
		return nil, err
	}
	if s.port, err = s.Host.BindUDP(igd.ControlPort, s.receive); err != nil {
		return nil, err
	}
	if s.stranger, err = s.Host.BindUDP(0, func(time.Time, netip.AddrPort, []byte) {}); err != nil {
		return nil, err
	}
	s.send(s.Router.Start(w.Now()))
	return s, nil
}

// own is the NAT and the firewall of a simulated router.
type own struct {
	igd.Gateway
	router *sim.Router
}

func (o own) Firewall(f func(*firewall.Firewall)) { f(o.router.Firewall()) }

// Reboot has the router lose its mappings and announce itself.
func (s *Simulated) Reboot() { s.send(s.Router.Reboot(s.world.Now())) }

// Advance has the router look at the time and at the NAT's address, which it
// does by itself when it is asked for something.
func (s *Simulated) Advance() { s.send(s.Router.Advance(s.world.Now())) }

func (s *Simulated) receive(now time.Time, from netip.AddrPort, b []byte) {
	s.send(s.Router.Control(now, from, b))
	s.plan()
}

func (s *Simulated) send(list []igd.Datagram) {
	now := s.world.Now()
	for _, d := range list {
		from := s.port
		switch d.Via {
		case igd.ViaStranger:
			from = s.stranger
		case igd.ViaSearch:
			continue
		}
		if d.After == 0 {
			_ = from.SendTo(d.To, d.Payload) // to an address of a datagram, or the group
			continue
		}
		s.world.At(now.Add(d.After), func() { _ = from.SendTo(d.To, d.Payload) })
	}
}

// plan has the next mapping expire when its time comes.
func (s *Simulated) plan() {
	next, ok := s.Router.Next()
	if !ok || !s.due.IsZero() && !next.Before(s.due) {
		return
	}
	s.due = next
	s.world.At(next, func() {
		s.Advance()
		if s.due.Equal(next) {
			s.due = time.Time{}
		}
		s.plan()
	})
}

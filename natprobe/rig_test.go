package natprobe

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"shipworm/natprobe/message"
	"shipworm/natprobe/report"
	"shipworm/testnet/invariant"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
)

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func addr(s string) netip.Addr         { return netip.MustParseAddr(s) }
func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// rtt is the round trip of the tests, without the answering server's time.
const rtt = 50 * ms

// A rig is a world with a host, what stands in front of it, and servers; it
// drives one machine in virtual time.
type rig struct {
	t       testing.TB
	w       *sim.World
	client  *sim.Host
	routers []*sim.Router
	ports   []*sim.UDPPort
	m       *machine
	sent    []netip.AddrPort                               // destinations
	tcp     tcpAnswer                                      // does the server answer over TCP?
	hops    []netip.Addr                                   // routers that complain of packets that live too short
	refuse  func(o options, to netip.AddrPort) bool        // drops what is sent
	mtu     int                                            // of the way out; 0 = endless
	stop    time.Duration                                  // when the run is interrupted; 0 = never
	refuses netip.Addr                                     // who says that the server's port is closed
	spoof   func(sock int, to netip.AddrPort, data []byte) // sees what is sent
}

// setup is one of the networks that a prober has to know.
type setup struct {
	name      string
	routers   []nat.Config // from the Internet inwards; none = a public host
	mapping   report.Behavior
	filtering report.Behavior
	nat       report.Verdict
}

func profile(t testing.TB, name string) nat.Config {
	c, err := nat.ParseProfile(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// setups are the nine NATs that Linux was made to be, and what is no NAT.
func setups(t testing.TB) []setup {
	const ei, ad, apd = nat.EndpointIndependent, nat.AddressDependent, nat.AddressAndPortDependent
	p := func(name string) nat.Config { return profile(t, name) }
	with := func(c nat.Config, f func(*nat.Config)) nat.Config { f(&c); return c }
	one := func(c ...nat.Config) []nat.Config { return c }
	adm := with(p("symmetric-address"), func(c *nat.Config) { c.Filtering = apd })
	coneport := with(p("port-restricted"), func(c *nat.Config) { c.Allocation, c.PortMin, c.PortMax = nat.Random, 40000, 49999 })
	return []setup{
		{"linux", one(p("linux")), report.EndpointIndependent, report.AddressAndPortDependent, report.Yes},
		{"linux, open input", one(p("linux-open-input")), report.EndpointIndependent, report.AddressAndPortDependent, report.Yes},
		{"fullcone", one(p("cone")), report.EndpointIndependent, report.EndpointIndependent, report.Yes},
		{"restricted", one(p("address-restricted")), report.EndpointIndependent, report.AddressDependent, report.Yes},
		{"adm", one(adm), report.AddressDependent, report.AddressAndPortDependent, report.Yes},
		{"symmetric", one(p("symmetric")), report.AddressAndPortDependent, report.AddressAndPortDependent, report.Yes},
		{"coneport", one(coneport), report.EndpointIndependent, report.AddressAndPortDependent, report.Yes},
		{"double", one(p("symmetric"), p("linux")), report.AddressAndPortDependent, report.AddressAndPortDependent, report.Yes},
		{"double cone", one(p("linux"), p("cone")), report.EndpointIndependent, report.AddressAndPortDependent, report.Yes},
		{"hairpin", one(p("port-restricted")), report.EndpointIndependent, report.AddressAndPortDependent, report.Yes},
		{"public", nil, report.EndpointIndependent, report.EndpointIndependent, report.No},
		{"firewall", one(p("firewall")), report.EndpointIndependent, report.AddressAndPortDependent, report.No},
		{"blocked", one(p("udp-blocked")), report.BehaviorUnknown, report.BehaviorUnknown, report.Unknown},
	}
}

func newRig(t testing.TB, seed uint64, loss float64, routers ...nat.Config) *rig {
	t.Helper()
	r := &rig{t: t, w: sim.New(seed, begin)}
	invariant.Install(t, r.w, invariant.Config{})
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	line := link.Config{Delay: 20 * ms, Loss: loss}
	host := func(name string, l link.Config, a netip.Addr, more ...netip.Addr) (*sim.Host, error) {
		return r.w.Host(name, l, append([]netip.Addr{a}, more...)...)
	}
	router := r.w.Router
	for i, c := range routers {
		if !c.NoTranslation {
			c.External = append(c.External, netip.AddrFrom4([4]byte{203, 0, 113, 1}))
			if i > 0 {
				c.External = []netip.Addr{netip.AddrFrom4([4]byte{100, 64, 0, byte(i + 1)})}
			}
		}
		up := link.Config{}
		if i == 0 {
			up = line
		}
		next, err := router(fmt.Sprint("router", i), c, up)
		must(err)
		r.routers = append(r.routers, next)
		host, router = next.Host, next.Router
	}
	a := addr("192.168.1.2")
	inner := link.Config{}
	if n := len(routers); n == 0 || routers[n-1].NoTranslation {
		a = addr("203.0.113.9")
	}
	if len(routers) == 0 {
		inner = line
	}
	var err error
	r.client, err = host("client", inner, a, a.Next())
	must(err)
	return r
}

// server puts a well-behaved server on the Internet, 5 ms from its middle.
func (r *rig) server(quirk quirk, addrs ...string) *fakeServer {
	r.t.Helper()
	var list []netip.Addr
	for _, a := range addrs {
		list = append(list, addr(a))
	}
	h, err := r.w.Host("server "+addrs[0], link.Config{Delay: 5 * ms}, list...)
	if err != nil {
		r.t.Fatal(err)
	}
	s := &fakeServer{quirk: quirk, host: h, w: r.w, ports: map[netip.AddrPort]*sim.UDPPort{}}
	for _, a := range list {
		for _, p := range []uint16{3478, 3479} {
			local := netip.AddrPortFrom(a, p)
			port, err := h.BindUDPAddr(local, func(_ time.Time, from netip.AddrPort, b []byte) { s.serve(local, from, b) })
			if err != nil {
				r.t.Fatal(err)
			}
			s.ports[local] = port
			s.addrs = list
		}
	}
	return s
}

// run drives a machine to its end and returns how long that took.
func (r *rig) run(c Config) time.Duration {
	r.t.Helper()
	if len(c.Servers) == 0 {
		c.Servers = []netip.AddrPort{addrPort("198.51.100.1:3478")}
	}
	began := r.w.Now()
	r.m = newMachine(c, newPacer(began))
	r.m.start(began)
	r.act()
	for !r.m.done() {
		at, ok := r.m.next()
		if next, more := r.w.Next(); more && (!ok || next.Before(at)) {
			at, ok = next, true
		}
		if !ok {
			r.t.Fatal("the machine waits for nothing")
		}
		if at.Sub(began) > time.Hour {
			r.t.Fatal("the machine does not end")
		}
		if r.stop > 0 && at.Sub(began) > r.stop {
			r.w.Advance(began.Add(r.stop))
			r.m.advance(began.Add(r.stop))
			break
		}
		r.w.Advance(at)
		r.m.tick(at)
		r.act()
	}
	took := r.w.Now().Sub(began)
	for _, p := range r.ports {
		if p != nil {
			p.Close()
		}
	}
	r.ports = nil
	return took
}

func (r *rig) act() {
	for list := r.m.actions(); len(list) > 0; list = r.m.actions() {
		r.perform(list)
	}
}

func (r *rig) perform(list []action) {
	for _, a := range list {
		switch a.kind {
		case actOpen:
			id := a.sock
			at := r.client.Addr()
			if a.second {
				at = r.m.cfg.Second
			}
			p, err := r.client.BindUDPAddr(netip.AddrPortFrom(at, a.port), func(now time.Time, from netip.AddrPort, b []byte) {
				r.m.receive(now, id, from, b)
				r.act()
			})
			r.ports = append(r.ports, p)
			if err != nil {
				r.m.opened(id, netip.AddrPort{}, err)
				continue
			}
			r.m.opened(id, p.LocalAddr(), nil)
		case actSend:
			if r.ports[a.sock] == nil {
				continue // as the driver does
			}
			r.sent = append(r.sent, a.to)
			if r.spoof != nil {
				r.spoof(a.sock, a.to, a.data)
			}
			o, complain := r.m.sockets[a.sock].options, func(kind icmpKind, from netip.Addr) {
				r.w.At(r.w.Now().Add(10*ms), func() {
					r.m.unreachable(r.w.Now(), a.sock, icmpError{kind, a.to, from})
					r.act()
				})
			}
			switch {
			case r.refuse != nil && r.refuse(o, a.to):
				continue
			case o.whole && r.mtu > 0 && len(a.data)+28 > r.mtu:
				continue
			case r.refuses.IsValid():
				complain(icmpRefused, r.refuses)
				continue
			case o.ttl > 0 && o.ttl <= len(r.hops):
				if hop := r.hops[o.ttl-1]; hop.IsValid() {
					complain(icmpExceeded, hop)
				}
				continue
			}
			if err := r.ports[a.sock].SendTo(a.to, a.data); err != nil && a.to.Addr().Is4() {
				r.t.Errorf("send to %s: %v", a.to, err)
			}
		case actDial:
			r.m.dialed(r.tcp)
		}
	}
}

// A quirk is how a server gets it wrong.
type quirk uint8

const (
	correct         quirk = iota
	ignoresChange         // answers change requests from where they came to
	sameAddress           // OTHER-ADDRESS has the server's own address
	mirrors               // OTHER-ADDRESS is the client's own address
	liesOfSource          // RESPONSE-ORIGIN is not where the answer comes from, RESPONSE-PORT is ignored
	ownOther              // coturn's: the other address names itself as the other one
	singleAddress         // no OTHER-ADDRESS, change requests are refused
	dropsChange           // change requests are not answered
	changesOnlyPort       // change requests for the address change the port
	dropsPort             // change requests for the port alone are not answered
	refuses               // wants credentials
	once                  // dies after its first answer
	slow                  // answers from elsewhere take 150 ms longer
	small                 // does not answer with padding
	pokes                 // sends a stray datagram from elsewhere at the first request
)

// A fakeServer is a server of RFC 5780 that can lie.
type fakeServer struct {
	quirk  quirk
	host   *sim.Host
	w      *sim.World
	addrs  []netip.Addr
	ports  map[netip.AddrPort]*sim.UDPPort
	other  netip.AddrPort // instead of the right one
	claims netip.AddrPort // instead of the mapped one
	poke   netip.AddrPort // where stray datagrams come from
}

func (s *fakeServer) serve(at, from netip.AddrPort, b []byte) {
	req, err := message.Parse(b)
	if err != nil || req.Class != message.Request {
		return
	}
	other := netip.AddrPortFrom(at.Addr(), 3478+3479-at.Port())
	if len(s.addrs) > 1 {
		other = netip.AddrPortFrom(s.addrs[0], other.Port())
		if at.Addr() == s.addrs[0] {
			other = netip.AddrPortFrom(s.addrs[1], other.Port())
		}
	}
	src, dst := at, from
	change := req.ChangeIP || req.ChangePort
	if req.ChangeIP && s.quirk != changesOnlyPort {
		src = netip.AddrPortFrom(other.Addr(), src.Port())
	}
	if req.ChangePort {
		src = netip.AddrPortFrom(src.Addr(), other.Port())
	}
	if req.ResponsePort != 0 && s.quirk != liesOfSource {
		dst = netip.AddrPortFrom(from.Addr(), req.ResponsePort)
	}
	ans := message.Message{Class: message.Success, ID: req.ID, Mapped: from, XORMapped: from, Origin: src, Other: other, Software: "fake", Padding: req.Padding}
	if s.claims.IsValid() {
		ans.Mapped, ans.XORMapped = s.claims, s.claims
	}
	switch s.quirk {
	case ignoresChange:
		src = at
	case sameAddress:
		ans.Other = netip.AddrPortFrom(at.Addr(), other.Port())
	case mirrors:
		ans.Other = netip.AddrPortFrom(from.Addr(), other.Port())
	case liesOfSource:
		ans.Origin = addrPort("192.0.2.77:7777")
	case ownOther:
		if at.Addr() != s.addrs[0] {
			ans.Other = netip.AddrPortFrom(at.Addr(), other.Port())
		}
	case dropsChange:
		if change {
			return
		}
	case refuses:
		src = at
		ans = message.Message{Class: message.Error, ID: req.ID, Code: 401}
	case once:
		defer clear(s.ports)
	case dropsPort:
		if change && !req.ChangeIP {
			return
		}
	case singleAddress:
		ans.Other = netip.AddrPort{}
		if change {
			src = at
			ans = message.Message{Class: message.Error, ID: req.ID, Code: 420, Unknown: []uint16{3}}
		}
	}
	if req.Padding > 0 {
		switch {
		case req.ResponsePort != 0:
			ans, dst = message.Message{Class: message.Error, ID: req.ID, Code: 400}, from
		case s.quirk == small:
			return
		}
	}
	if s.quirk == pokes {
		s.quirk = correct
		s.ports[s.poke].SendTo(from, []byte("stray"))
	}
	if s.other.IsValid() {
		ans.Other = s.other
	}
	p := s.ports[src]
	switch {
	case p == nil:
	case s.quirk == slow && change:
		s.w.At(s.w.Now().Add(150*ms), func() { p.SendTo(dst, ans.Append(nil)) })
	default:
		p.SendTo(dst, ans.Append(nil))
	}
}

// words joins the notes of a rig's run for a failure message.
func (r *rig) words() string {
	_, a := r.m.mappingVerdict()
	_, b := r.m.filteringVerdict()
	return strings.Join([]string{a, b}, "; ")
}

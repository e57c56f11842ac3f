//go:build lab && linux

package teredo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shipworm/teredo/tun"
	"shipworm/testnet/lab"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
)

// quickest is the shortest of several times, which is to be within most. A
// machine that stalls lengthens some of them, code that is slow all. What is
// promised is a fifth of it, and held in the tests of the client and its engine.
func quickest(t *testing.T, what string, most time.Duration, took []time.Duration) {
	t.Helper()
	t.Logf("%s after %v", what, took)
	for _, d := range took {
		if d <= most {
			return
		}
	}
	t.Errorf("%s after %v, want %v", what, took, most)
}

// solicits has f done, and tells how long after that one of the hosts sent
// something to the server.
func (s *street) solicits(f func(), hosts ...*lab.Host) time.Duration {
	s.t.Helper()
	sent := make(chan time.Time, 100)
	s.lab.SetTrace(func(e sim.Event) {
		const source, destination = 12, 16
		for _, h := range hosts {
			if e.Kind == sim.Sent && e.Node == h.Name() && len(e.Packet) > destination+4 && netip.AddrFrom4([4]byte(e.Packet[destination:])) == primary {
				select {
				case sent <- time.Now():
				default:
				}
			}
		}
	})
	defer s.lab.SetTrace(nil)
	f()
	done := time.Now()
	select {
	case at := <-sent:
		return max(0, at.Sub(done))
	case <-time.After(patience):
		s.t.Error("not noticed")
		return patience
	}
}

// An address or route that comes or goes has the client solicit soon.
// TR-03
func TestLabLinkChange(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	s.ourServer("--listen", primary.String())
	home := s.home("port-restricted")
	s.client(home)
	var took []time.Duration
	for _, change := range []string{"address add 192.168.7.7/24 dev lo", "route add 192.0.2.0/24 dev lo", "address del 192.168.7.7/24 dev lo"} {
		took = append(took, s.solicits(func() { s.must(home, "ip "+change) }, home))
	}
	quickest(t, "solicited", time.Second, took)
}

// A host that goes from one network to another, and back, has its new Teredo
// address soon, on the interface too, and is reached there by a
// peer. The line moves into its namespace, as a cable is plugged in. TR-03
func TestLabRoams(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	s.ourServer("--listen", primary.String())
	house := func(name, external, inside string) *lab.Host {
		cfg, _ := nat.Profile("port-restricted")
		cfg.External = []netip.Addr{netip.MustParseAddr(external)}
		r, err := s.lab.Router("router of "+name, cfg, s.line)
		if err != nil {
			t.Fatal(err)
		}
		h, err := r.Host(name, link.Config{}, netip.MustParseAddr(inside))
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	home, cafe := house("home", "198.51.100.1", "192.168.1.2"), house("cafe", "198.51.100.2", "192.168.2.2")
	s.must(cafe, "ip link set eth0 down && ip link set eth0 name eth1 && ip link set eth1 netns "+home.Netns())
	s.must(home, "ip address add 192.168.2.2/24 dev eth1")
	p, q := s.client(home, "--tun", "teredo")
	peer := s.home("port-restricted")
	s.client(peer, "--tun", "teredo")
	var solicited, qualified []time.Duration
	at := q.Address.String()
	for i := range 4 {
		from, to, gateway := "eth0", "eth1", "192.168.2.1"
		if i%2 == 1 {
			from, to, gateway = "eth1", "eth0", "192.168.1.1"
		}
		began := time.Now()
		solicited = append(solicited, s.solicits(func() {
			s.must(home, fmt.Sprintf("ip link set %s down; ip link set %s up && ip route replace default via %s dev %[2]s", from, to, gateway))
		}, home, cafe))
		now := at
		for end := time.Now().Add(patience); now == at; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("still at %s\n%s", at, &p.stderr)
			}
			if out := s.must(home, "ip -6 -o address show dev teredo scope global"); strings.Contains(out, "2001:0:") {
				now, _, _ = strings.Cut(strings.Fields(out)[3], "/")
			}
		}
		qualified = append(qualified, time.Since(began))
		at = now
		if _, ok := s.call(&resident{Host: peer}, at, 20); !ok {
			t.Errorf("not reached at %s", at)
		}
	}
	quickest(t, "solicited", time.Second, solicited)
	quickest(t, "another address", 10*time.Second, qualified)
}

// A host wakes up, and its NAT has forgotten it: the address on its interface is
// another soon, and a peer is reached. The clocks are the test's:
// the one that goes on in sleep is set forward. TR-04
func TestLabSuspend(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	s.ourServer("--listen", primary.String())
	router, err := s.lab.Router("router", nat.Config{
		Filtering: nat.AddressAndPortDependent, Allocation: nat.Random, Quarantine: time.Hour,
		External: []netip.Addr{netip.MustParseAddr("198.51.100.1")},
	}, s.line)
	if err != nil {
		t.Fatal(err)
	}
	home, err := router.Host("home", link.Config{}, netip.MustParseAddr("192.168.1.2"))
	if err != nil {
		t.Fatal(err)
	}
	peer := s.home("port-restricted")
	_, q := s.client(peer, "--tun", "teredo")

	var device *tun.Device
	assign := tun.NewAssign("teredo", false)
	err = home.Do(func() (err error) {
		device, err = tun.New(tun.Config{Name: "teredo", Assign: func(a netip.Addr) error {
			return home.Do(func() error { return assign(a) })
		}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewClient(ClientConfig{Server: primary.String(), Device: device, Listen: func(_ context.Context, local netip.AddrPort) (p net.PacketConn, err error) {
		err = home.Do(func() error { p, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(local)); return err })
		return p, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	var asleep atomic.Int64
	c.clock = func() time.Duration { return systemClock() + time.Duration(asleep.Load()) }
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := c.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	defer func() { cancel(); running.Wait() }()
	before, err := c.WaitQualified(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := s.call(&resident{Host: home}, q.Address.String(), 20); !ok {
		t.Fatal("the peer is not reached")
	}
	time.Sleep(5 * time.Second) // the refresh is far off, nothing is unanswered

	if err := router.Change(func(r *sim.Router) error { r.NAT().Reset(); return nil }); err != nil {
		t.Fatal(err)
	}
	asleep.Store(int64(8 * time.Hour))
	began := time.Now()
	for {
		a := c.State().Address
		if a.IsValid() && a != before && strings.Contains(s.must(home, "ip -6 -o address show dev teredo"), a.String()+"/") {
			break
		}
		if time.Since(began) > patience {
			t.Fatalf("still at %v", a)
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("another address %v after the wake", time.Since(began))
	if _, ok := s.call(&resident{Host: home}, q.Address.String(), 20); !ok {
		t.Error("the peer is not reached any more")
	}
}

// A client behind a NAT of the kernel's own that forgets after 15 s is reached
// all the time with a refresh interval of 10 s. TR-12
func TestLabShortNAT(t *testing.T) {
	t.Parallel()
	c := newCountry(t)
	c.ourServer("--listen", primary.String(), "--listen", secondary.String())
	var homes, callers []*settler
	for range 2 {
		n := c.settle(masquerade + silent)
		c.must(n.gateway.Host, "sysctl -qw net.netfilter.nf_conntrack_udp_timeout=15 net.netfilter.nf_conntrack_udp_timeout_stream=15")
		homes = append(homes, n)
	}
	for i, refresh := range []string{"10", "45"} {
		_, q := c.client(homes[i].Host, "--server", primary.String()+","+secondary.String(), "--tun", "teredo", "--refresh", refresh)
		homes[i].addr = q.Address.String()
	}
	for range 2 {
		n := c.settle(masquerade + silent)
		c.client(n.Host, "--server", primary.String()+","+secondary.String(), "--tun", "teredo")
		callers = append(callers, n)
	}
	for i, n := range callers { // each for the first time
		time.Sleep(17 * time.Second)
		if i == 0 { // as a control; the next solicitation is more than 30 s after the first
			if _, ok := c.call(&n.resident, homes[1].addr, 3); ok {
				t.Log("with an interval of 45 s it is reached as well, so the NAT did not forget")
			}
		}
		if _, ok := c.call(&n.resident, homes[0].addr, 20); !ok {
			t.Errorf("call %d: not reached", i+1)
		}
	}
	if st := c.state(homes[0].Host); st.Address.String() != homes[0].addr || st.Solicitations < 4 {
		t.Errorf("%v, was %v; %d solicitations", st.Address, homes[0].addr, st.Solicitations)
	}
}

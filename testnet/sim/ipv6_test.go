package sim_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"shipworm/testnet/firewall"
	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/internal/ipv6"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
)

// dual is a world with a server on the Internet and two homes of both families,
// each with a firewall if config is one.
func dual(t testing.TB, config *firewall.Config) (n *lab, server, alice, bob *sim.Host, homes [2]*sim.Router) {
	n = newLab(t, 1)
	var err error
	if server, err = n.Host("server", link.Config{Delay: 10 * ms}, addr("198.51.100.1"), addr("2001:db8::1")); err != nil {
		t.Fatal(err)
	}
	var hosts [2]*sim.Host
	for i, name := range []string{"alice", "bob"} {
		r := n.router("home of "+name, "port-restricted", netip.AddrFrom4([4]byte{203, 0, 113, byte(1 + i)}).String())
		prefix := netip.MustParsePrefix([]string{"2001:db8:a::/64", "2001:db8:b::/64"}[i])
		if err := r.Delegate(prefix); err != nil {
			t.Fatal(err)
		}
		if config != nil {
			f, err := firewall.New(*config)
			if err != nil {
				t.Fatal(err)
			}
			r.SetFirewall(f)
		}
		own := prefix.Addr().Next().Next()
		if hosts[i], err = r.Host(name, link.Config{}, addr("192.168.1.2"), own); err != nil {
			t.Fatal(err)
		}
		homes[i] = r
	}
	return n, server, hosts[0], hosts[1], homes
}

// A host of both families uses each as the destination wants it: IPv4 is
// translated, IPv6 is not.
func TestDualStack(t *testing.T) {
	n, server, alice, bob, _ := dual(t, nil)
	s, a, b := n.bind(server, 7), n.bind(alice, 5000), n.bind(bob, 5000)
	a.send(addrPort("198.51.100.1:7"), "four")
	n.run(time.Second)
	if from := s.last("four"); from != addrPort("203.0.113.1:5000") {
		t.Errorf("IPv4 comes from %v", from)
	}
	a.send(addrPort("[2001:db8::1]:7"), "six")
	n.run(time.Second)
	if from := s.last("six"); from != addrPort("[2001:db8:a::2]:5000") {
		t.Errorf("IPv6 comes from %v", from)
	}
	b.send(addrPort("[2001:db8:a::2]:5000"), "no firewall")
	n.run(time.Second)
	a.send(a.last("no firewall"), "hello")
	n.run(time.Second)
	b.last("hello")
}

// RFC 6092: what the inside did not ask for is refused, what it asked for comes,
// and a pinhole lets others in.
func TestFirewallOfHome(t *testing.T) {
	n, server, alice, bob, homes := dual(t, &firewall.Config{Filtering: nat.AddressAndPortDependent})
	s, a, b := n.bind(server, 7), n.bind(alice, 5000), n.bind(bob, 5000)
	s.send(addrPort("[2001:db8:a::2]:5000"), "unsolicited")
	n.run(time.Second)
	n.dropped("alice", "firewall: nobody inside asked for it")
	a.send(addrPort("[2001:db8::1]:7"), "question")
	n.run(time.Second)
	s.send(s.last("question"), "answer")
	n.run(time.Second)
	a.last("answer")
	b.send(addrPort("[2001:db8:a::2]:5000"), "between homes")
	n.run(time.Second)
	n.dropped("alice", "firewall: nobody inside asked for it")
	if _, err := homes[0].Firewall().AddPinhole(n.Now(), firewall.Pinhole{Proto: ipv4.UDP, Internal: addrPort("[2001:db8:a::2]:5000")}, time.Minute); err != nil {
		t.Fatal(err)
	}
	b.send(addrPort("[2001:db8:a::2]:5000"), "through a pinhole")
	n.run(time.Second)
	a.last("through a pinhole")
}

// RFC 6092, REC-34: an unsolicited SYN is reported after six seconds.
func TestRefusedSYN(t *testing.T) {
	n, server, _, _, _ := dual(t, &firewall.Config{})
	var at []time.Duration
	began := n.Now()
	server.Receive = func(now time.Time, pkt []byte) {
		if pkt[ipv6.HeaderLen] == ipv6.Unreachable && pkt[ipv6.HeaderLen+1] == ipv6.CodeProhibited {
			at = append(at, now.Sub(began))
		}
	}
	server.Send(ipv6.AppendTCP(nil, addrPort("[2001:db8::1]:1000"), addrPort("[2001:db8:a::2]:80"), ipv4.SYN, nil))
	n.run(time.Minute)
	if want := []time.Duration{6*time.Second + 30*ms}; !slices.Equal(at, want) {
		t.Errorf("reported at %v, want %v", at, want)
	}
}

// Routers count hops, and report what is over or too big (RFC 4443, 3.2, 3.3).
func TestICMPv6Errors(t *testing.T) {
	n, server, alice, _, homes := dual(t, &firewall.Config{})
	var got []string
	alice.Receive = func(_ time.Time, pkt []byte) { got = append(got, ipv6.Summary(pkt)) }
	pkt := ipv6.AppendUDP(nil, addrPort("[2001:db8:a::2]:1"), addrPort("[2001:db8::1]:7"), make([]byte, 1400))
	pkt[7] = 1
	alice.Send(pkt)
	n.run(time.Second)
	pkt[7] = 64
	if err := homes[0].SetLink(link.Config{MTU: 1400}); err != nil {
		t.Fatal(err)
	}
	alice.Send(pkt)
	n.run(time.Second)
	if err := homes[0].SetLink(link.Config{}); err != nil {
		t.Fatal(err)
	}
	if err := server.SetLink(link.Config{MTU: 1300}); err != nil {
		t.Fatal(err)
	}
	alice.Send(pkt)
	n.run(time.Second)
	alice.Send(ipv6.AppendEcho(nil, ipv6.EchoRequest, addr("2001:db8:a::2"), addr("2001:db8:a::1"), 1, 2, nil))
	n.run(time.Second)
	want := []string{
		"ICMPv6 time exceeded, 2001:db8:a::1 > 2001:db8:a::2, 1280 B",
		"ICMPv6 packet too big, MTU 1400, 2001:db8:a::1 > 2001:db8:a::2, 1280 B",
		"ICMPv6 packet too big, MTU 1300, 2001:db8:ffff:ffff::1 > 2001:db8:a::2, 1280 B",
		"ICMPv6 echo reply 1/2, 2001:db8:a::1 > 2001:db8:a::2, 48 B",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Multicast and link-local addresses stay on the LAN.
func TestScopes(t *testing.T) {
	n, _, alice, bob, homes := dual(t, nil)
	tv, err := homes[0].Host("tv", link.Config{}, addr("192.168.1.3"), addr("2001:db8:a::3"), addr("fe80::3"))
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.AddAddr(addr("fe80::2")); err != nil {
		t.Fatal(err)
	}
	a, b, v := n.bind(alice, 1900), n.bind(bob, 1900), n.bind(tv, 1900)
	a.send(addrPort("[ff02::c]:1900"), "M-SEARCH")
	n.run(time.Second)
	from := v.last("M-SEARCH")
	if from != addrPort("[fe80::2]:1900") {
		t.Errorf("multicast comes from %v", from)
	}
	v.send(from, "here")
	n.run(time.Second)
	a.last("here")
	if len(b.got) != 0 {
		t.Errorf("another home heard %q", b.got)
	}
	alice.Send(ipv6.AppendUDP(nil, addrPort("[fe80::2]:1"), addrPort("[2001:db8::1]:7"), nil))
	n.run(time.Second)
	n.dropped("alice", "a link-local address does not leave its link")
	alice.Send(ipv6.AppendUDP(nil, addrPort("[2001:db8:b::9]:1"), addrPort("[2001:db8::1]:7"), nil))
	n.run(time.Second)
	n.dropped("alice", "the source is on the other side of the router")
	a.send(addrPort("[2001:db8:a::99]:1"), "nobody")
	n.run(time.Second)
	n.dropped("alice", "no host has this address")
}

// A provider may give out another prefix; one that is in use is refused, and
// changes nothing. A router behind a router gets a part of the prefix.
func TestDelegate(t *testing.T) {
	n, server, alice, _, homes := dual(t, nil)
	for _, bad := range []string{"2001:db8:a::/65", "192.0.2.0/24", "fe80::/64", "2001:db8::/15", "2001:db8:a::1/64"} {
		if err := homes[0].Delegate(netip.MustParsePrefix(bad)); !errors.Is(err, sim.ErrBadPrefix) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	for _, used := range []string{"2001:db8:b::/64", "2001:db8::/64"} {
		if err := homes[0].Delegate(netip.MustParsePrefix(used)); !errors.Is(err, sim.ErrAddressInUse) {
			t.Errorf("%s: %v", used, err)
		}
	}
	s, a := n.bind(server, 7), n.bind(alice, 5000)
	a.send(addrPort("[2001:db8::1]:7"), "old")
	n.run(time.Second)
	s.last("old")
	if err := homes[0].Delegate(netip.MustParsePrefix("2001:db8:c00::/48")); err != nil {
		t.Fatal(err)
	}
	a.send(addrPort("[2001:db8::1]:7"), "old address")
	n.run(time.Second)
	n.dropped("alice", "the source is on the other side of the router")
	if err := alice.RemoveAddr(addr("2001:db8:a::2")); err != nil {
		t.Fatal(err)
	}
	if err := alice.AddAddr(addr("2001:db8:c00::2")); err != nil {
		t.Fatal(err)
	}
	inner, err := homes[0].Router("flat", config(t, "cone", "192.168.1.9"), link.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := inner.Delegate(netip.MustParsePrefix("2001:db8:c00:1::/64")); err != nil {
		t.Fatal(err)
	}
	deep, err := inner.Host("deep", link.Config{}, addr("10.0.0.2"), addr("2001:db8:c00:1::2"))
	if err != nil {
		t.Fatal(err)
	}
	d := n.bind(deep, 5000)
	for addr, to := range map[string]*inbox{"[2001:db8::1]:7": s, "[2001:db8:c00::2]:5000": a} {
		d.send(addrPort(addr), "up")
		n.run(time.Second)
		to.send(to.last("up"), "down")
		n.run(time.Second)
		d.last("down")
	}
}

// through6 is through for IPv6, with firewalls instead of NATs.
func through6(tb testing.TB) (*sim.World, *sim.Host, []byte, *int) {
	w := sim.New(1, start)
	var hosts [2]*sim.Host
	for i, name := range []string{"alice", "bob"} {
		c := config(tb, "cone", netip.AddrFrom4([4]byte{203, 0, 113, byte(1 + i)}).String())
		r, err := w.Router("home of "+name, c, link.Config{Delay: 10 * ms})
		if err != nil {
			tb.Fatal(err)
		}
		prefix := netip.MustParsePrefix([]string{"2001:db8:a::/64", "2001:db8:b::/64"}[i])
		f, err := firewall.New(firewall.Config{UDP: 1000 * time.Hour})
		if err == nil {
			r.SetFirewall(f)
			err = r.Delegate(prefix)
		}
		if err == nil {
			hosts[i], err = r.Host(name, link.Config{}, prefix.Addr().Next().Next())
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	got := new(int)
	p, err := hosts[1].BindUDP(5000, func(time.Time, netip.AddrPort, []byte) { *got++ })
	if err != nil {
		tb.Fatal(err)
	}
	from, to := addrPort("[2001:db8:a::2]:5000"), addrPort("[2001:db8:b::2]:5000")
	if err := p.SendTo(from, nil); err != nil { // opens bob's firewall
		tb.Fatal(err)
	}
	w.Settle(time.Second)
	return w, hosts[0], ipv6.AppendUDP(nil, from, to, make([]byte, 1232)), got
}

func TestPath6AllocatesNothing(t *testing.T) {
	w, alice, pkt, got := through6(t)
	if n := testing.AllocsPerRun(1000, func() {
		alice.Send(pkt)
		w.Settle(time.Second)
	}); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
	if *got < 1000 {
		t.Errorf("only %d packets arrived", *got)
	}
}

// BenchmarkWorld6 is BenchmarkWorld for IPv6 through two firewalls.
func BenchmarkWorld6(b *testing.B) {
	w, alice, pkt, got := through6(b)
	sent := 0
	b.ReportAllocs()
	for b.Loop() {
		alice.Send(pkt)
		if sent++; sent%64 == 0 {
			w.Settle(time.Second)
		}
	}
	w.Settle(time.Second)
	if *got != sent {
		b.Fatalf("%d of %d arrived", *got, sent)
	}
	b.ReportMetric(float64(sent)/b.Elapsed().Seconds(), "packets/s")
}

// A host at the router's IPv6 address takes what is for it on the LAN, and
// pings are answered as before.
func TestGatewayHost6(t *testing.T) {
	n, _, alice, _, homes := dual(t, &firewall.Config{})
	if err := homes[0].SetGateway(addr("192.168.1.1")); err != nil {
		t.Fatal(err)
	}
	g, err := homes[0].GatewayHost("gateway")
	if err != nil {
		t.Fatal(err)
	}
	a, pcp := n.bind(alice, 5000), n.bind(g, 5351)
	a.send(addrPort("[2001:db8:a::1]:5351"), "map")
	n.run(time.Second)
	pcp.send(pcp.last("map"), "mapped")
	n.run(time.Second)
	if from := a.last("mapped"); from != addrPort("[2001:db8:a::1]:5351") {
		t.Errorf("the answer comes from %v", from)
	}
	var got []string
	alice.Receive = func(_ time.Time, pkt []byte) { got = append(got, ipv6.Summary(pkt)) }
	alice.Send(ipv6.AppendEcho(nil, ipv6.EchoRequest, addr("2001:db8:a::2"), addr("2001:db8:a::1"), 1, 2, nil))
	n.run(time.Second)
	if want := []string{"ICMPv6 echo reply 1/2, 2001:db8:a::1 > 2001:db8:a::2, 48 B"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

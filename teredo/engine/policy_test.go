package engine

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// T-01: every range is denied, its neighbours are not. Each row names a range
// of RFC 4380, 5.2.4 or of our own, so that losing one fails.
func TestPolicyRanges(t *testing.T) {
	for _, row := range []struct {
		first, last string // denied, both included
	}{
		{"0.0.0.0", "0.255.255.255"},
		{"10.0.0.0", "10.255.255.255"},
		{"100.64.0.0", "100.127.255.255"},
		{"127.0.0.0", "127.255.255.255"},
		{"169.254.0.0", "169.254.255.255"},
		{"172.16.0.0", "172.31.255.255"},
		{"192.0.0.0", "192.0.0.255"},
		{"192.88.99.0", "192.88.99.255"},
		{"192.168.0.0", "192.168.255.255"},
		{"224.0.0.0", "255.255.255.255"},
	} {
		p := Policy{}.compile()
		first, last := netip.MustParseAddr(row.first), netip.MustParseAddr(row.last)
		mid := first.As4()
		mid[3] ^= 1
		for _, inside := range []netip.Addr{first, netip.AddrFrom4(mid), last.Prev(), last} {
			if p.permits(inside) {
				t.Errorf("%v is permitted", inside)
			}
		}
		for _, outside := range []netip.Addr{first.Prev(), last.Next()} {
			if outside.IsValid() && !p.permits(outside) {
				t.Errorf("%v is denied", outside)
			}
		}
	}
	p := Policy{}.compile()
	for _, s := range []string{"192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "8.8.8.8", "239.255.255.255", "240.0.0.0"} {
		ip := netip.MustParseAddr(s)
		if want := ip.As4()[0] < 224; p.permits(ip) != want {
			t.Errorf("%v: permitted is %v", ip, !want)
		}
	}
	for _, ip := range []netip.Addr{{}, netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("::ffff:8.8.8.8")} {
		if p.permits(ip) {
			t.Errorf("%v is permitted", ip)
		}
	}
}

// T-01: each range of the list is needed.
func TestPolicyRangesNeeded(t *testing.T) {
	all := DeniedRanges()
	for i, r := range all {
		rest := append(append([]netip.Prefix{}, all[:i]...), all[i+1:]...)
		p := Policy{Ranges: rest}.compile()
		if !p.permits(r.Addr()) {
			t.Errorf("%v is covered twice", r)
		}
	}
}

// T-01: the host's own addresses, attached subnets with their broadcast
// addresses, and intranets with public numbers.
func TestPolicyInside(t *testing.T) {
	p := Policy{
		Own:    []netip.Addr{netip.MustParseAddr("198.51.100.7")},
		Inside: []netip.Prefix{netip.MustParsePrefix("203.0.113.64/26"), netip.MustParsePrefix("11.0.0.0/8")},
	}.compile()
	for s, want := range map[string]bool{
		"198.51.100.6": true, "198.51.100.7": false, "198.51.100.8": true,
		"203.0.113.63": true, "203.0.113.64": false, "203.0.113.127": false, "203.0.113.128": true,
		"11.1.2.3": false, "12.0.0.0": true,
	} {
		if got := p.permits(netip.MustParseAddr(s)); got != want {
			t.Errorf("%s: permitted is %v", s, got)
		}
	}
	if !p.unicast(netip.MustParseAddr("198.51.100.7")) {
		t.Error("a host without NAT could not qualify: its mapping is its own address")
	}
}

// T-01: a copy is made, so that nobody weakens a policy in use.
func TestPolicyCopied(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("198.51.100.7")}
	p := Policy{Own: own}.compile()
	own[0] = netip.Addr{}
	if p.permits(netip.MustParseAddr("198.51.100.7")) {
		t.Error("the policy shares its list")
	}
}

// Policy asks its ranges only where an address's first byte is one of theirs: it
// must come to the same as asking them always, whatever they are. T-01
func TestPolicyShortcut(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	anywhere := func() netip.Addr {
		return netip.AddrFrom4([4]byte{byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())})
	}
	for bits := range 33 {
		ranges, inside := netip.PrefixFrom(anywhere(), bits), netip.PrefixFrom(anywhere(), 32-bits)
		own := anywhere()
		p := Policy{
			Ranges: []netip.Prefix{ranges, netip.MustParsePrefix("::/0"), {}}, Inside: []netip.Prefix{inside, {}},
			Own: []netip.Addr{own, netip.IPv6Loopback(), {}},
		}.compile()
		check := func(ip netip.Addr) {
			t.Helper()
			unicast := ip.Is4() && !ranges.Contains(ip)
			if got := p.unicast(ip); got != unicast {
				t.Errorf("%v: unicast(%v) = %v", ranges, ip, got)
			}
			if got, want := p.permits(ip), unicast && !inside.Contains(ip) && ip != own; got != want {
				t.Errorf("%v, %v, %v: permits(%v) = %v", ranges, inside, own, ip, got)
			}
		}
		for first := range 256 {
			check(netip.AddrFrom4([4]byte{byte(first), 1, 2, 3}))
		}
		for _, r := range []netip.Prefix{ranges, inside} {
			check(r.Addr())
			check(r.Masked().Addr())
			check(r.Masked().Addr().Prev()) // the invalid one, perhaps
		}
		check(own)
		check(own.Next())
		check(netip.IPv6Loopback())
	}
}

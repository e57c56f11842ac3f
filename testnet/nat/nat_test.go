package nat_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/nat"
)

func TestConfigProblemsAreAllReported(t *testing.T) {
	_, err := nat.New(nat.Config{
		External: []netip.Addr{addr("2001:db8::1")}, Mapping: 9, PortMin: 5, PortMax: 4,
		Overlap: true, Lifetime: -1, MaxPeers: -1,
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"2001:db8::1", "unknown behaviour", "port range 5-4", "negative lifetime", "negative bound"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	for name, c := range map[string]nat.Config{
		"no external address":     {},
		"external, but no NAT":    {NoTranslation: true, External: []netip.Addr{addr("203.0.113.1")}},
		"overlap without mapping": {External: []netip.Addr{addr("203.0.113.1")}, Overlap: true},
		"multicast":               {External: []netip.Addr{addr("224.0.0.1")}},
		"port 0 in the range":     {External: []netip.Addr{addr("203.0.113.1")}, PortMax: 9},
	} {
		if _, err := nat.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Every profile builds, behaves as its name says, and has an honest class of
// RFC 3489.
func TestProfiles(t *testing.T) {
	class := map[string][3]bool{ // same port for another destination; other port, stranger let in
		"cone":                 {true, true, true},
		"address-restricted":   {true, true, false},
		"port-restricted":      {true, false, false},
		"symmetric":            {false, false, false},
		"symmetric-address":    {false, true, false},
		"symmetric-sequential": {false, false, false},
		"symmetric-preserving": {true, false, false}, // the port is kept, but each destination has its own mapping
		"symmetric-first":      {false, false, false},
		"symmetric-pooled":     {false, false, false},
		"upnp-port-restricted": {true, false, false},
		"upnp-symmetric":       {false, false, false},
		"linux":                {true, false, false},
		"linux-open-input":     {false, false, false}, // moved by the stray packets of this test
		"rfc4787":              {true, true, true},
		"home":                 {true, true, false},
		"home-strict":          {true, false, false},
		"home-alg":             {true, false, false},
		"home-overloading":     {true, false, false},
		"cgn":                  {true, true, true},
		"hotel":                {false, false, false},
		"enterprise":           {false, false, false},
		"teredo-blocked":       {true, false, false},
		"short-lived":          {true, false, false},
		"firewall":             {true, false, false},
		"none":                 {true, true, true},
	}
	for _, name := range nat.Profiles() {
		t.Run(name, func(t *testing.T) {
			c, ok := nat.Profile(name)
			if !ok {
				t.Fatal("listed, but unknown")
			}
			if nat.Description(name) == "" {
				t.Error("nothing is said about it")
			}
			c.Seed = 1
			b := newBench(t, c)
			if name == "udp-blocked" {
				if v := b.outbound(b.udp(inA1, outX1)); v.Reason != nat.Blocked {
					t.Errorf("UDP: %v", v.Reason)
				}
				if v := b.inbound(b.udp(outX1, ep("203.0.113.1:1"))); v.Reason != nat.Blocked {
					t.Errorf("UDP from outside: %v", v.Reason)
				}
				if v := b.outbound(ipv4.AppendTCP(nil, 1, inA1, outX1, ipv4.SYN, nil)); v.Action != nat.Forward {
					t.Errorf("TCP: %v", v.Reason)
				}
				return
			}
			want, ok := class[name]
			if !ok {
				t.Fatal("no expectation for this profile")
			}
			x := b.out(inA1, outX1)
			if c.NoTranslation && x != inA1 {
				t.Errorf("translated to %v", x)
			}
			_, port := b.in(outX2, x)
			_, stranger := b.in(outY1, x)
			through := func(r nat.Reason) bool { return r == nat.Permitted || r == nat.Untranslated }
			got := [3]bool{b.out(inA1, outY1) == x, through(port), through(stranger)}
			if got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
	for alias, name := range map[string]string{"full-cone": "cone", "restricted": "address-restricted", "open": "none", "carrier": "cgn"} {
		a, ok := nat.Profile(alias)
		c, _ := nat.Profile(name)
		if !ok || a.Mapping != c.Mapping || a.Filtering != c.Filtering || a.NoTranslation != c.NoTranslation {
			t.Errorf("%s is not %s", alias, name)
		}
	}
	if _, ok := nat.Profile(""); ok {
		t.Error("the empty name is a profile")
	}
	if _, ok := nat.Profile("conical"); ok {
		t.Error("an unknown name is a profile")
	}
}

// Reject answers exactly the unsolicited packets, to their sender.
func TestReject(t *testing.T) {
	for _, reject := range []bool{false, true} {
		b := newBench(t, nat.Config{Filtering: apd, Reject: reject})
		x := b.out(inA1, outX1)
		for _, to := range []netip.AddrPort{x, ep("203.0.113.1:9")} {
			pkt := b.udp(outY1, to)
			v := b.inbound(pkt)
			if v.Action != nat.Drop || (v.Reply != nil) != reject {
				t.Fatalf("reject %v: %v with reply %x", reject, v.Action, v.Reply)
			}
			if !reject {
				continue
			}
			if src, dst := ipv4.Addr(ipv4.Src(v.Reply)), ipv4.Addr(ipv4.Dst(v.Reply)); src != to.Addr() || dst != outY1.Addr() {
				t.Errorf("reply %v > %v", src, dst)
			}
			if v.Reply[20] != ipv4.Unreachable || v.Reply[21] != ipv4.CodePort || string(v.Reply[28:]) != string(pkt) {
				t.Errorf("reply is not port unreachable about the packet: %x", v.Reply)
			}
		}
		// An error is never answered with an error (RFC 1122, 3.2.2).
		if v := b.inbound(icmpError(outY1.Addr(), b.udp(x, outY1), 28)); v.Reply != nil {
			t.Errorf("an ICMP error was answered: %x", v.Reply)
		}
		if _, why := b.in(outX1, x); why != nat.Permitted {
			t.Error(why)
		}
	}
}

// Packets that the engine does not take are dropped with their reason.
func TestRefusedPackets(t *testing.T) {
	good := ipv4.AppendUDP(nil, 1, inA1, outX1, []byte("payload"))
	edit := func(f func(p []byte) []byte) []byte {
		p := f(append([]byte(nil), good...))
		if len(p) >= 20 {
			p[10], p[11] = 0, 0
			c := ^ipv4.Fold(ipv4.Sum(p[:20], 0))
			p[10], p[11] = byte(c>>8), byte(c)
		}
		return p
	}
	for _, tc := range []struct {
		name string
		pkt  []byte
		want nat.Reason
	}{
		{"empty", nil, nat.Malformed},
		{"IPv6", edit(func(p []byte) []byte { p[0] = 0x65; return p }), nat.Malformed},
		{"wrong header checksum", func() []byte { p := edit(func(p []byte) []byte { return p }); p[11]++; return p }(), nat.Malformed},
		{"longer than it is", edit(func(p []byte) []byte { p[3]++; return p }), nat.Malformed},
		{"header shorter than 20", edit(func(p []byte) []byte { p[0] = 0x44; return p }), nat.Malformed},
		{"UDP length too long", edit(func(p []byte) []byte { p[25]++; return p }), nat.Malformed},
		{"UDP length below 8", edit(func(p []byte) []byte { p[25] = 7; return p }), nat.Malformed},
		{"first fragment", edit(func(p []byte) []byte { p[6] |= 0x20; return p }), nat.Fragmented},
		{"later fragment", edit(func(p []byte) []byte { p[7] = 1; return p }), nat.Fragmented},
		{"GRE", edit(func(p []byte) []byte { p[9] = 47; return p }), nat.BadProtocol},
		{"short TCP", edit(func(p []byte) []byte { p[9] = ipv4.TCP; return p }), nat.Malformed},
		{"ICMP redirect", edit(func(p []byte) []byte { p[9], p[20] = ipv4.ICMP, 5; return p }), nat.BadICMP},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, nat.Config{})
			if v := b.outbound(tc.pkt); v.Action != nat.Drop || v.Reason != tc.want {
				t.Errorf("outbound: %v, %v", v.Action, v.Reason)
			}
			if v := b.inbound(tc.pkt); v.Action != nat.Drop || v.Reason != tc.want {
				t.Errorf("inbound: %v, %v", v.Action, v.Reason)
			}
			if got := b.nat.Count(tc.want); got != 2 {
				t.Errorf("counted %d times", got)
			}
		})
	}
}

// Every table is bounded; full ones refuse new flows and keep the old.
func TestBounds(t *testing.T) {
	flow := func(host byte, port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, host}), port)
	}
	refused := func(b *bench, in, to netip.AddrPort, want nat.Reason) {
		t.Helper()
		if v := b.outbound(b.udp(in, to)); v.Action != nat.Drop || v.Reason != want {
			t.Errorf("%v, %v; want %v", v.Action, v.Reason, want)
		}
	}
	b := newBench(t, nat.Config{MaxMappings: 2, Lifetime: time.Minute})
	x := b.out(flow(1, 1), outX1)
	b.out(flow(1, 2), outX1)
	refused(b, flow(1, 3), outX1, nat.TableFull)
	if _, why := b.in(outX1, x); why != nat.Permitted {
		t.Error(why)
	}
	b.wait(time.Minute)
	b.out(flow(1, 3), outX1)

	b = newBench(t, nat.Config{MaxPerHost: 1})
	b.out(flow(1, 1), outX1)
	refused(b, flow(1, 2), outX1, nat.HostLimitReached)
	b.out(flow(2, 1), outX1)

	b = newBench(t, nat.Config{MaxPeers: 2, Filtering: apd})
	b.out(flow(1, 1), outX1)
	b.out(flow(1, 1), outX2)
	refused(b, flow(1, 1), outY1, nat.TableFull)
	refused(b, flow(1, 2), outY1, nat.TableFull)
	if n := len(b.nat.Mappings(b.now)); n != 1 {
		t.Errorf("a refused flow left a mapping: %d", n)
	}
}

func TestResetAndNewExternal(t *testing.T) {
	b := newBench(t, nat.Config{Allocation: nat.Random, Seed: 7})
	x := b.out(inA1, outX1)
	b.nat.Reset()
	if _, why := b.in(outX1, x); why != nat.NoMapping {
		t.Errorf("after Reset: %v", why)
	}
	if again := b.out(inA1, outX1); again != x {
		t.Errorf("the dice did not start anew: %v, %v", x, again)
	}
	if err := b.nat.SetExternal(addr("203.0.113.77")); err != nil {
		t.Fatal(err)
	}
	if y := b.out(inA1, outX1); y.Addr() != addr("203.0.113.77") {
		t.Errorf("mapped to %v", y)
	}
	if _, why := b.in(outX1, x); why != nat.NotExternal {
		t.Errorf("the old address: %v", why)
	}
	if err := b.nat.SetExternal(); err == nil {
		t.Error("no address at all was accepted")
	}
}

func TestMappings(t *testing.T) {
	b := newBench(t, nat.Config{Filtering: ad})
	b.out(inA1, outX1)
	b.wait(time.Second)
	b.out(inA1, outY1)
	rows := b.nat.Mappings(b.now)
	if len(rows) != 1 {
		t.Fatal(rows)
	}
	m := rows[0]
	if m.Internal != inA1 || m.External != ep("203.0.113.1:5000") || m.Protocol != 17 || m.Remote.IsValid() ||
		!m.Expires.Equal(b.now.Add(5*time.Minute)) {
		t.Errorf("%+v", m)
	}
	if len(m.Peers) != 2 || m.Peers[0] != ep("198.51.100.1:0") || m.Peers[1] != ep("198.51.100.9:0") {
		t.Errorf("peers %v", m.Peers)
	}
}

// Every reason, action and knob reads as English.
func TestStrings(t *testing.T) {
	for r := nat.Reason(0); r <= nat.HostLimitReached; r++ {
		if s := r.String(); s == "" || strings.HasPrefix(s, "reason ") {
			t.Errorf("reason %d reads %q", uint8(r), s)
		}
	}
}

// A UDP checksum that comes out as zero is sent as all ones (RFC 768), and no
// checksum stays none.
func TestUDPChecksumZero(t *testing.T) {
	for i := range 1 << 16 {
		payload := []byte{byte(i >> 8), byte(i)}
		want := ipv4.AppendUDP(nil, 1, ep("203.0.113.1:5000"), outX1, payload)
		if want[26] != 0xff || want[27] != 0xff {
			continue
		}
		b := newBench(t, nat.Config{})
		pkt := ipv4.AppendUDP(nil, 1, inA1, outX1, payload)
		b.outbound(pkt)
		if pkt[26] != 0xff || pkt[27] != 0xff {
			t.Errorf("checksum %x%x", pkt[26], pkt[27])
		}
		pkt = ipv4.AppendUDP(nil, 1, inA1, outX1, payload)
		pkt[26], pkt[27] = 0, 0
		b.outbound(pkt)
		if pkt[26] != 0 || pkt[27] != 0 {
			t.Errorf("no checksum became %x%x", pkt[26], pkt[27])
		}
		return
	}
	t.Fatal("no payload gives a zero checksum")
}

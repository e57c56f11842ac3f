package firewall

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/internal/ipv6"
	"shipworm/testnet/nat"
)

var (
	start  = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	inside = netip.MustParseAddrPort("[2001:db8:a::2]:5000")
	remote = netip.MustParseAddrPort("[2001:db8::1]:4000")
	same   = netip.MustParseAddrPort("[2001:db8::1]:4001") // remote's address
	other  = netip.MustParseAddrPort("[2001:db8::2]:4000")
)

func udp(from, to netip.AddrPort) []byte { return ipv6.AppendUDP(nil, from, to, []byte("x")) }

func tcp(flags byte, from, to netip.AddrPort) []byte {
	return ipv6.AppendTCP(nil, from, to, flags, nil)
}

func port(a netip.AddrPort, p uint16) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), p) }

func newFirewall(t *testing.T, c Config) *Firewall {
	t.Helper()
	f, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// RFC 6092, REC-17 and REC-33: who may send to an endpoint that has sent.
func TestFiltering(t *testing.T) {
	for _, tc := range []struct {
		filtering nat.Behavior
		want      [3]Reason // for remote, same, other
	}{
		{nat.EndpointIndependent, [3]Reason{Known, Permitted, Permitted}},
		{nat.AddressDependent, [3]Reason{Known, Permitted, Unsolicited}},
		{nat.AddressAndPortDependent, [3]Reason{Known, Unsolicited, Unsolicited}},
	} {
		for name, make := range map[string]func(from, to netip.AddrPort) []byte{
			"UDP": udp,
			"TCP": func(from, to netip.AddrPort) []byte { return tcp(ipv4.SYN, from, to) },
		} {
			f := newFirewall(t, Config{Filtering: tc.filtering})
			for _, from := range []netip.AddrPort{remote, same, other} {
				if r := f.Inbound(start, make(from, inside)); r != Unsolicited {
					t.Errorf("%v %s: before anything was sent: %v", tc.filtering, name, r)
				}
			}
			if r := f.Outbound(start, make(inside, remote)); r != Begun {
				t.Errorf("%v %s: outbound: %v", tc.filtering, name, r)
			}
			var got [3]Reason
			for i, from := range []netip.AddrPort{remote, same, other} {
				got[i] = f.Inbound(start, make(from, inside))
			}
			if got != tc.want {
				t.Errorf("%v %s: %v, want %v", tc.filtering, name, got, tc.want)
			}
			if r := f.Inbound(start, make(remote, port(inside, 1))); r != Unsolicited {
				t.Errorf("%v %s: another port inside: %v", tc.filtering, name, r)
			}
		}
	}
}

// How long a flow is remembered without traffic, by the recommendations of
// RFC 6092.
func TestIdleTimes(t *testing.T) {
	echo := func(from, to netip.AddrPort) []byte {
		return ipv6.AppendEcho(nil, ipv6.EchoRequest, from.Addr(), to.Addr(), 9, 1, nil)
	}
	shake := func(f *Firewall) {
		f.Outbound(start, tcp(ipv4.SYN, inside, remote))
		f.Inbound(start, tcp(ipv4.SYN|ipv4.ACK, remote, inside))
		f.Outbound(start, tcp(ipv4.ACK, inside, remote))
	}
	for _, tc := range []struct {
		name string
		do   func(*Firewall)
		back []byte
		want time.Duration
	}{
		{"REC-14: UDP", func(f *Firewall) { f.Outbound(start, udp(inside, remote)) }, udp(remote, inside), 5 * time.Minute},
		{"REC-15: UDP to a well-known port", func(f *Firewall) { f.Outbound(start, udp(inside, port(remote, 53))) },
			udp(port(remote, 53), inside), 2 * time.Minute},
		{"REC-35: a TCP connection that opens", func(f *Firewall) { f.Outbound(start, tcp(ipv4.SYN, inside, remote)) },
			tcp(ipv4.SYN|ipv4.ACK, remote, inside), 4 * time.Minute},
		{"REC-35: established", shake, tcp(ipv4.ACK, remote, inside), 2*time.Hour + 4*time.Minute},
		{"half closed", func(f *Firewall) { shake(f); f.Outbound(start, tcp(ipv4.FIN|ipv4.ACK, inside, remote)) },
			tcp(ipv4.ACK, remote, inside), 2*time.Hour + 4*time.Minute},
		{"closed", func(f *Firewall) {
			shake(f)
			f.Outbound(start, tcp(ipv4.FIN|ipv4.ACK, inside, remote))
			f.Inbound(start, tcp(ipv4.FIN|ipv4.ACK, remote, inside))
			f.Outbound(start, tcp(ipv4.ACK, inside, remote))
		}, tcp(ipv4.ACK, remote, inside), 4 * time.Minute},
		{"reset", func(f *Firewall) { shake(f); f.Inbound(start, tcp(ipv4.RST, remote, inside)) },
			tcp(ipv4.ACK, remote, inside), 4 * time.Minute},
		{"closed and opened again", func(f *Firewall) {
			shake(f)
			f.Inbound(start, tcp(ipv4.RST, remote, inside))
			shake(f)
		}, tcp(ipv4.ACK, remote, inside), 2*time.Hour + 4*time.Minute},
		{"REC-12: echo", func(f *Firewall) { f.Outbound(start, echo(inside, remote)) },
			ipv6.AppendEcho(nil, ipv6.EchoReply, remote.Addr(), inside.Addr(), 9, 1, nil), 2 * time.Minute},
	} {
		for _, when := range []struct {
			after time.Duration
			pass  bool
		}{{tc.want - 1, true}, {tc.want, false}} {
			f := newFirewall(t, Config{})
			tc.do(f)
			if r := f.Inbound(start.Add(when.after), tc.back); r.Pass() != when.pass {
				t.Errorf("%s: after %v: %v", tc.name, when.after, r)
			}
			if !when.pass && f.Flows(start.Add(when.after)) != 0 {
				t.Errorf("%s: after %v there are %d flows", tc.name, when.after, f.Flows(start.Add(when.after)))
			}
		}
	}
}

// RFC 6092, REC-16: what the inside sends prolongs a flow, what comes does not.
func TestRefresh(t *testing.T) {
	f := newFirewall(t, Config{})
	f.Outbound(start, udp(inside, remote))
	f.Inbound(start.Add(4*time.Minute), udp(remote, inside))
	if r := f.Inbound(start.Add(5*time.Minute), udp(remote, inside)); r != Unsolicited {
		t.Errorf("inbound prolonged the flow: %v", r)
	}
	f.Outbound(start.Add(6*time.Minute), udp(inside, remote))
	f.Outbound(start.Add(10*time.Minute), udp(inside, remote))
	if r := f.Inbound(start.Add(14*time.Minute), udp(remote, inside)); r != Known {
		t.Errorf("outbound did not prolong the flow: %v", r)
	}
}

// REC-10, REC-18, REC-36: errors about known flows pass; REC-19, REC-37: they
// end nothing.
func TestErrors(t *testing.T) {
	f := newFirewall(t, Config{})
	sent := udp(inside, remote)
	f.Outbound(start, sent)
	for name, tc := range map[string]struct {
		pkt  []byte
		want Reason
	}{
		"too big":      {ipv6.AppendError(nil, ipv6.PacketTooBig, 0, 1280, other.Addr(), sent), QuotedFlow},
		"unreachable":  {ipv6.AppendError(nil, ipv6.Unreachable, ipv6.CodePort, 0, remote.Addr(), sent), QuotedFlow},
		"unknown flow": {ipv6.AppendError(nil, ipv6.Unreachable, ipv6.CodePort, 0, remote.Addr(), udp(inside, other)), UnknownQuote},
		"no quote":     {ipv6.AppendEcho(nil, ipv6.Unreachable, remote.Addr(), inside.Addr(), 0, 0, nil), UnknownQuote},
		"echo":         {ipv6.AppendEcho(nil, ipv6.EchoRequest, remote.Addr(), inside.Addr(), 0, 0, nil), Unsolicited},
		"echo reply":   {ipv6.AppendEcho(nil, ipv6.EchoReply, remote.Addr(), inside.Addr(), 0, 0, nil), Unsolicited},
	} {
		if r := f.Inbound(start, tc.pkt); r != tc.want {
			t.Errorf("%s: %v, want %v", name, r, tc.want)
		}
	}
	if r := f.Inbound(start, udp(remote, inside)); r != Known {
		t.Errorf("after the errors: %v", r)
	}
}

// REC-34: an unsolicited SYN is reported after six seconds, unless the inside
// sends one too in the meantime (simultaneous open, REC-31).
func TestUnsolicitedSYN(t *testing.T) {
	f := newFirewall(t, Config{Filtering: nat.AddressAndPortDependent})
	syn := tcp(ipv4.SYN, remote, inside)
	for range 3 { // it is sent again
		f.Inbound(start, syn)
	}
	f.Inbound(start.Add(time.Second), tcp(ipv4.SYN, other, inside))
	f.Inbound(start, tcp(ipv4.ACK, same, inside)) // no SYN, no report
	at, ok := f.Next()
	if !ok || !at.Equal(start.Add(6*time.Second)) {
		t.Fatalf("Next = %v, %v", at, ok)
	}
	if b := f.Poll(at.Add(-1)); b != nil {
		t.Error("reported too early")
	}
	if b := f.Poll(at); !slices.Equal(b, syn) {
		t.Errorf("reported %x, want %x", b, syn)
	}
	f.Outbound(at, tcp(ipv4.SYN, inside, other))
	if at, ok := f.Next(); ok {
		t.Errorf("a SYN that the inside answered is reported at %v", at)
	}
}

// REC-48: pinholes, their wildcards, renewal and end.
func TestPinholes(t *testing.T) {
	lan := netip.PrefixFrom(remote.Addr(), 128)
	for name, tc := range map[string]struct {
		hole Pinhole
		want [4]bool // UDP from remote, same and other; TCP from remote
	}{
		"all":           {Pinhole{Internal: port(inside, 0)}, [4]bool{true, true, true, true}},
		"UDP":           {Pinhole{Proto: 17, Internal: inside}, [4]bool{true, true, true, false}},
		"remote prefix": {Pinhole{Internal: inside, Remote: lan}, [4]bool{true, true, false, true}},
		"remote port":   {Pinhole{Internal: inside, RemotePort: 4000}, [4]bool{true, false, true, true}},
		"other port":    {Pinhole{Internal: port(inside, 1)}, [4]bool{}},
	} {
		f := newFirewall(t, Config{Filtering: nat.AddressAndPortDependent})
		id, err := f.AddPinhole(start, tc.hole, time.Minute)
		if err != nil || id == 0 {
			t.Fatalf("%s: %d, %v", name, id, err)
		}
		var got [4]bool
		for i, pkt := range [][]byte{udp(remote, inside), udp(same, inside), udp(other, inside), tcp(ipv4.SYN, remote, inside)} {
			got[i] = f.Inbound(start, pkt).Pass()
		}
		if got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}

	f := newFirewall(t, Config{MaxPinholes: 2})
	hole := Pinhole{Proto: 17, Internal: inside}
	id, _ := f.AddPinhole(start, hole, time.Minute)
	if again, err := f.AddPinhole(start, hole, 2*time.Minute); again != id || err != nil {
		t.Errorf("asked for again: %d, %v, want %d", again, err, id)
	}
	second, _ := f.AddPinhole(start, Pinhole{Internal: inside}, 5*time.Minute)
	if _, err := f.AddPinhole(start, Pinhole{Internal: port(inside, 2)}, time.Minute); !errors.Is(err, ErrTooManyPinholes) {
		t.Errorf("a third: %v", err)
	}
	if err := f.RenewPinhole(start, second, time.Minute); err != nil {
		t.Error(err)
	}
	f.Inbound(start, udp(remote, inside))
	f.Inbound(start, udp(remote, inside))
	if all := f.Pinholes(start.Add(time.Minute)); len(all) != 1 || all[0].ID != id || all[0].Packets != 1 {
		t.Errorf("after a minute: %+v", all)
	}
	if err := f.RemovePinhole(start, id); err != nil {
		t.Error(err)
	}
	if err := f.RemovePinhole(start, id); !errors.Is(err, ErrNoPinhole) {
		t.Errorf("removed twice: %v", err)
	}
	if r := f.Inbound(start, udp(remote, inside)); r != Known {
		t.Errorf("its flow: %v", r)
	}
	if r := f.Inbound(start, udp(other, port(inside, 7))); r != Unsolicited {
		t.Errorf("a new flow: %v", r)
	}
	for name, bad := range map[string]Pinhole{
		"nobody": {}, "IPv4": {Internal: netip.MustParseAddrPort("192.0.2.1:1")},
		"IPv4 outside": {Internal: inside, Remote: netip.MustParsePrefix("192.0.2.0/24")},
	} {
		if _, err := f.AddPinhole(start, bad, time.Minute); !errors.Is(err, ErrBadPinhole) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The later pieces of an answer pass behind the first one, and nobody else's.
func TestFragments(t *testing.T) {
	piece := func(offset uint16, from, to netip.AddrPort) []byte {
		whole := udp(from, to)
		b := append(slices.Clone(whole[:40]), 17, 0, byte(offset>>8), byte(offset)|1, 0, 0, 0, 9)
		b[6] = 44
		b = append(b, whole[40:]...)
		b[4], b[5] = 0, byte(len(b)-40)
		return b
	}
	f := newFirewall(t, Config{})
	f.Outbound(start, udp(inside, remote))
	if r := f.Inbound(start, piece(64, remote, inside)); r != FragmentEarly {
		t.Errorf("before the first: %v", r)
	}
	if r := f.Inbound(start, piece(0, remote, inside)); r != Known {
		t.Errorf("the first: %v", r)
	}
	if r := f.Inbound(start.Add(59*time.Second), piece(64, remote, inside)); r != Known {
		t.Errorf("after it: %v", r)
	}
	if r := f.Inbound(start, piece(64, other, inside)); r != FragmentEarly {
		t.Errorf("of another: %v", r)
	}
}

// The tables are bounded, and the bound lifts when flows end.
func TestBounds(t *testing.T) {
	f := newFirewall(t, Config{MaxFlows: 2})
	f.Outbound(start, udp(inside, remote))
	f.Outbound(start, udp(inside, same))
	if r := f.Outbound(start, udp(inside, other)); r != TableFull || f.Stats().Full != 1 {
		t.Errorf("a third flow: %v, %+v", r, f.Stats())
	}
	if r := f.Outbound(start.Add(time.Hour), udp(inside, other)); r != Begun {
		t.Errorf("after an hour: %v", r)
	}
	for i := range 10000 { // SYNs that nobody wants
		f.Inbound(start, tcp(ipv4.SYN, port(remote, uint16(i)), port(inside, 80)))
	}
	if len(f.refused) > maxRefused {
		t.Errorf("%d SYNs wait", len(f.refused))
	}
	// Opening and closing a connection for ever leaves few timers.
	f.Reset()
	for i := range 10000 {
		now := start.Add(time.Duration(i) * time.Minute)
		f.Outbound(now, tcp(ipv4.SYN, inside, remote))
		f.Inbound(now, tcp(ipv4.SYN|ipv4.ACK, remote, inside))
		f.Outbound(now, tcp(ipv4.ACK, inside, remote))
		f.Outbound(now, tcp(ipv4.RST, inside, remote))
	}
	if len(f.idle) > 3 {
		t.Errorf("%d timers for one flow", len(f.idle))
	}
}

func TestValidate(t *testing.T) {
	for name, c := range map[string]Config{
		"filtering": {Filtering: 99}, "time": {UDP: -1}, "bound": {MaxFlows: -1},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for r := Begun; r <= TableFull; r++ {
		if s := r.String(); s == "" || s[0] == 'r' && s[:6] == "reason" {
			t.Errorf("reason %d has no text", uint8(r))
		}
	}
}

// No packet causes a panic, none is changed, and nothing unsolicited passes.
func FuzzPackets(f *testing.F) {
	f.Add(udp(remote, inside), true)
	f.Add(tcp(ipv4.SYN, remote, inside), false)
	f.Add(ipv6.AppendError(nil, ipv6.PacketTooBig, 0, 1280, other.Addr(), udp(inside, remote)), false)
	f.Fuzz(func(t *testing.T, pkt []byte, outbound bool) {
		w, _ := New(Config{})
		was := slices.Clone(pkt)
		if r := w.Inbound(start, pkt); r.Pass() && r != Exempt {
			t.Errorf("unsolicited: %v", r)
		}
		if outbound {
			w.Outbound(start, pkt)
			w.Inbound(start, pkt)
		}
		w.Flows(start.Add(24 * time.Hour))
		if !slices.Equal(pkt, was) {
			t.Error("the packet was changed")
		}
	})
}

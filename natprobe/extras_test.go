package natprobe

import (
	"net/netip"
	"testing"
	"time"

	"shipworm/natprobe/report"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

// probe runs one machine behind a NAT and returns its report.
func probe(t *testing.T, c Config, routers ...nat.Config) *report.Report {
	t.Helper()
	r := newRig(t, 1, 0, routers...)
	r.server(correct, a1, a2)
	r.run(c)
	return r.m.report()
}

// How external ports and addresses are chosen (RFC 4787, 4.1 and 4.2).
func TestPorts(t *testing.T) {
	const yes, no = report.Yes, report.No
	with := func(name string, f func(*nat.Config)) nat.Config {
		c := profile(t, name)
		if f != nil {
			f(&c)
		}
		return c
	}
	tests := map[string]struct {
		nat                         nat.Config
		preserving, parity, contig  report.Verdict
		kind                        report.AllocationKind
		delta                       int
		predicted                   report.Verdict
		pooling                     report.Pooling
		deterministic, earlyInbound report.Verdict
	}{
		"linux":              {with("linux", nil), yes, yes, yes, report.Preserving, 0, report.NotTested, report.Paired, yes, no},
		"linux, open input":  {with("linux-open-input", nil), yes, yes, yes, report.Preserving, 0, report.NotTested, report.Paired, yes, yes},
		"symmetric":          {with("symmetric", nil), no, no, no, report.Random, 0, report.NotTested, report.Paired, yes, report.NotTested},
		"sequential":         {with("symmetric-sequential", nil), no, no, no, report.Sequential, 1, yes, report.Paired, yes, report.NotTested},
		"sequential by four": {with("symmetric-sequential", func(c *nat.Config) { c.Step = 4 }), no, no, no, report.Sequential, 4, yes, report.Paired, yes, report.NotTested},
		"parity": {with("cone", func(c *nat.Config) { c.Allocation, c.Parity = nat.Random, true }),
			no, yes, no, report.Random, 0, report.NotTested, report.Paired, yes, report.NotTested},
		"contiguity": {with("cone", func(c *nat.Config) { c.Allocation, c.Parity, c.Contiguity = nat.Random, true, true }),
			no, yes, yes, report.Random, 0, report.NotTested, report.Paired, yes, report.NotTested},
		"pool": {with("symmetric", func(c *nat.Config) { c.ArbitraryPooling = true; c.External = []netip.Addr{addr("203.0.113.2")} }),
			no, no, no, report.Random, 0, report.NotTested, report.Arbitrary, yes, report.NotTested},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := probe(t, Config{Tests: Tests{Ports: true}}, tt.nat)
			if r.PortPreserving != tt.preserving || r.Parity != tt.parity || r.Contiguity != tt.contig {
				t.Errorf("preserving %v, parity %v, contiguity %v", r.PortPreserving, r.Parity, r.Contiguity)
			}
			if a := r.Allocation; a.Kind != tt.kind || a.Delta != tt.delta || a.Predicted != tt.predicted {
				t.Errorf("allocation %+v", a)
			}
			if r.Pooling != tt.pooling || r.Deterministic != tt.deterministic || r.EarlyInbound != tt.earlyInbound {
				t.Errorf("pooling %v, deterministic %v, early inbound %v", r.Pooling, r.Deterministic, r.EarlyInbound)
			}
			if r.Packets.Sent > Burst {
				t.Errorf("%d packets", r.Packets.Sent)
			}
		})
	}
}

// Whether the NAT turns packets around, and what source they then have
// (RFC 4787, 6).
func TestHairpin(t *testing.T) {
	for want, mode := range map[report.Hairpin]nat.Hairpin{
		{Verdict: report.No}: nat.HairpinNone,
		{Verdict: report.Yes, Source: report.InternalSource}: nat.HairpinInternalSource,
		{Verdict: report.Yes, Source: report.ExternalSource}: nat.HairpinExternalSource,
	} {
		for _, name := range []string{"cone", "address-restricted", "port-restricted", "symmetric"} {
			c := profile(t, name)
			c.Hairpin = mode
			r := probe(t, Config{Tests: Tests{Hairpin: true}}, c)
			// Nobody but the destination of its mapping gets to a symmetric NAT's
			// endpoint, turned around or not.
			if name == "symmetric" {
				if r.Hairpin.Verdict != report.No {
					t.Errorf("%s, %v: %+v", name, mode, r.Hairpin)
				}
			} else if r.Hairpin != want {
				t.Errorf("%s, %v: %+v, want %+v", name, mode, r.Hairpin, want)
			}
		}
	}
	found := 0
	for seed := range uint64(50) {
		r := newRig(t, seed, 0, profile(t, "port-restricted"))
		if err := r.client.SetLink(link.Config{Loss: 0.15}); err != nil {
			t.Fatal(err)
		}
		r.server(correct, a1, a2)
		r.run(Config{Tests: Tests{Hairpin: true}})
		if r.m.report().Hairpin.Verdict == report.Yes {
			found++
		}
	}
	if found < 47 {
		t.Errorf("found in %d of 50 runs with loss", found)
	}
	if r := probe(t, Config{}, profile(t, "cone")); r.Hairpin.Verdict != report.NotTested {
		t.Error("tested though nobody asked for it")
	}
}

// How long mappings live, and what keeps them alive (RFC 4787, 4.3). One run
// takes as long as the longest time, not as all of them.
func TestLifetimes(t *testing.T) {
	tests := map[string]struct {
		name           string
		single, stream time.Duration // the truth
		inbound        report.Verdict
	}{
		"linux":           {"linux", 30 * time.Second, 120 * time.Second, report.Yes},
		"outbound only":   {"short-lived", 30 * time.Second, 30 * time.Second, report.No},
		"symmetric":       {"hotel", 30 * time.Second, 30 * time.Second, report.No},
		"refreshed by in": {"home", 120 * time.Second, 120 * time.Second, report.Yes},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, loss := range []float64{0, 0.05} {
				r := newRig(t, 3, loss, profile(t, tt.name))
				r.server(correct, a1, a2)
				const most = 4 * time.Minute
				took := r.run(Config{Tests: Tests{Lifetime: most}})
				single := r.m.report().Lifetimes
				within := func(b report.Bound, truth time.Duration) bool {
					return time.Duration(b.Alive) < truth && truth <= time.Duration(b.Dead) && float64(b.Alive) > float64(b.Dead)*0.5
				}
				if !within(single.Single, tt.single) || single.InboundRefresh != tt.inbound {
					t.Errorf("loss %v: %+v", loss, single)
				}
				if took > 2*most {
					t.Errorf("loss %v: took %v", loss, took)
				}
				r = newRig(t, 3, loss, profile(t, tt.name))
				r.server(correct, a1, a2)
				r.run(Config{Tests: Tests{StreamLifetime: most}})
				if b := r.m.report().Lifetimes.Stream; !within(b, tt.stream) {
					t.Errorf("loss %v: stream %+v", loss, b)
				}
			}
		})
	}
	r := newRig(t, 1, 0, profile(t, "linux"))
	r.server(liesOfSource, a1, a2)
	if took := r.run(Config{Tests: Tests{Lifetime: time.Hour}}); took > 2*time.Second || r.m.report().Lifetimes.Single.Tested() {
		t.Errorf("without RESPONSE-PORT: %v, %+v", took, r.m.report().Lifetimes)
	}
}

// Datagrams in pieces (RFC 5780, 3.5): which direction lets them through.
func TestFragments(t *testing.T) {
	const yes, no = report.Yes, report.No
	for name, tt := range map[string]struct {
		mode  nat.Fragments
		quirk quirk
		want  report.Fragments
	}{
		"through":        {nat.FragmentsAnyOrder, correct, report.Fragments{Out: yes, In: yes}},
		"dropped":        {nat.FragmentsDropped, correct, report.Fragments{Out: no, In: report.Unknown}},
		"only out":       {nat.FragmentsAnyOrder, small, report.Fragments{Out: yes, In: no}},
		"does not speak": {nat.FragmentsAnyOrder, refuses, report.Fragments{}},
	} {
		c := profile(t, "port-restricted")
		c.Fragments = tt.mode
		r := newRig(t, 1, 0, c)
		if err := r.client.SetLink(link.Config{MTU: 1500}); err != nil {
			t.Fatal(err)
		}
		if err := r.server(tt.quirk, a1, a2).host.SetLink(link.Config{Delay: 5 * ms, MTU: 1500}); err != nil {
			t.Fatal(err)
		}
		r.run(Config{Tests: Tests{Fragments: true}})
		if got := r.m.report(); got.Fragments != tt.want {
			t.Errorf("%s: %+v, %v", name, got.Fragments, got.Evidence)
		}
	}
}

// The largest packet that travels whole, of the sizes of usual links.
func TestMTU(t *testing.T) {
	for mtu, want := range map[int]int{0: 1500, 1500: 1500, 1499: 1492, 1300: 1280, 1000: 0} {
		r := newRig(t, 1, 0, profile(t, "port-restricted"))
		r.server(correct, a1, a2)
		r.mtu = mtu
		r.run(Config{Tests: Tests{MTU: true}})
		if got := r.m.report(); got.MTU != want || want == 0 && len(got.Evidence) != 3 {
			t.Errorf("%d: %d, %v", mtu, got.MTU, got.Evidence)
		}
	}
}

// Routers on the way, and what their addresses tell of further translators.
func TestLayers(t *testing.T) {
	for name, tt := range map[string]struct {
		hops  []string // "" is silent
		wan   string
		shown int
		cgnat report.Verdict
	}{
		"home":              {[]string{"192.168.1.1", "203.0.113.254"}, "", 2, report.NotTested},
		"carrier":           {[]string{"192.168.1.1", "100.64.0.1", "203.0.113.254"}, "", 3, report.Yes},
		"dual-stack lite":   {[]string{"192.0.0.1", "203.0.113.254"}, "", 2, report.Yes},
		"two at home":       {[]string{"192.168.1.1", "10.0.0.1", "203.0.113.254"}, "", 3, report.Unknown},
		"private, no NAT":   {[]string{"192.168.1.1", "10.0.0.1", "203.0.113.254"}, "203.0.113.1", 3, report.No},
		"silent":            {[]string{"", ""}, "", 0, report.NotTested},
		"silent in between": {[]string{"192.168.1.1", "", "203.0.113.254"}, "", 3, report.NotTested},
	} {
		r := newRig(t, 1, 0, profile(t, "linux"))
		r.server(correct, a1, a2)
		for _, h := range tt.hops {
			hop, _ := netip.ParseAddr(h)
			r.hops = append(r.hops, hop)
		}
		c := Config{Tests: Tests{Layers: true}}
		c.WAN, _ = netip.ParseAddr(tt.wan)
		took := r.run(c)
		got := r.m.report()
		if len(got.Layers) != tt.shown || got.CGNAT != tt.cgnat || got.Filtering != report.AddressAndPortDependent {
			t.Errorf("%s: %v, CGNAT %v, filtering %v", name, got.Layers, got.CGNAT, got.Filtering)
		}
		if took > 7*rtt || got.Packets.Sent > Burst {
			t.Errorf("%s: %v, %d packets", name, took, got.Packets.Sent)
		}
	}
	r := newRig(t, 1, 0, profile(t, "linux"))
	r.server(correct, a1, a2)
	r.run(Config{})
	if got := r.m.report(); len(r.m.extras.layers) > 0 || got.CGNAT != report.NotTested {
		t.Error("asked for, though nobody wanted it")
	}
}

// What rewrites addresses in payloads shows in MAPPED-ADDRESS, which the
// verdicts do not use where there is XOR-MAPPED-ADDRESS.
func TestALG(t *testing.T) {
	for name, want := range map[string]report.Verdict{"home-alg": report.Yes, "home-strict": report.No} {
		r := probe(t, Config{}, profile(t, name))
		if r.ALG != want || r.Access != report.NAT || r.Mapping != report.EndpointIndependent {
			t.Errorf("%s: %v, %v, %v", name, r.ALG, r.Access, r.Mapping)
		}
	}
}

// A translator beyond the home's (RFC 6598): by the address that the router
// names, or by the kind of the own one. U-06 calls it double NAT.
func TestCGNAT(t *testing.T) {
	for wan, want := range map[string]report.Verdict{
		"": report.NotTested, "203.0.113.1": report.No, "203.0.113.77": report.Yes, "100.64.3.4": report.Yes, "10.0.0.1": report.Yes,
	} {
		var c Config
		if wan != "" {
			c.WAN = addr(wan)
		}
		if r := probe(t, c, profile(t, "linux")); r.CGNAT != want {
			t.Errorf("WAN %q: %v, want %v", wan, r.CGNAT, want)
		}
	}
}

// What becomes of two hosts that use one port, which a second address of this
// host plays (RFC 4787, 4.2.1 and 8).
func TestCollision(t *testing.T) {
	for name, tt := range map[string]struct {
		collision     report.Collision
		deterministic report.Verdict
	}{
		"port-restricted":  {report.Moved, report.NotTested},
		"cone":             {report.Moved, report.NotTested},
		"linux":            {report.Moved, report.No},
		"linux-open-input": {report.Moved, report.No},
		"home-overloading": {report.Overloaded, report.NotTested},
		"symmetric":        {report.CollisionUnknown, report.NotTested},
		"firewall":         {report.CollisionUnknown, report.NotTested},
	} {
		for seed := range uint64(20) {
			for _, loss := range []float64{0, 0.1} {
				r := newRig(t, seed, loss, profile(t, name))
				r.server(correct, a1, a2)
				c := Config{Second: r.client.Addrs()[1]}
				r.run(c)
				got := r.m.report()
				if loss > 0 && got.Collision == report.CollisionUnknown && got.Deterministic == report.NotTested {
					continue
				}
				if got.Collision != tt.collision || got.Deterministic != tt.deterministic {
					t.Errorf("%s, seed %d, loss %v: %v, deterministic %v: %v", name, seed, loss, got.Collision, got.Deterministic, got.Evidence)
				}
			}
		}
	}
	for name, tt := range map[string]struct {
		refuse func(o options, to netip.AddrPort) bool
		want   report.Collision
	}{
		"the second's question": {func(o options, to netip.AddrPort) bool { return o.second && to == addrPort(a1+":3478") }, report.Refused},
		"the second":            {func(o options, _ netip.AddrPort) bool { return o.second }, report.CollisionUnknown},
	} {
		r := newRig(t, 1, 0, profile(t, "port-restricted"))
		r.refuse = tt.refuse
		r.server(correct, a1, a2)
		r.run(Config{Second: r.client.Addrs()[1]})
		if got := r.m.report(); got.Collision != tt.want || got.Filtering != report.AddressAndPortDependent {
			t.Errorf("%s is refused: %v, %v", name, got.Collision, got.Evidence)
		}
	}
}

//go:build lab && linux

package natprobe

import (
	"testing"

	"shipworm/natprobe/report"
	"shipworm/testnet/lab"
)

// TestKernelExtras asks Linux's routers what the classification leaves out:
// whether they turn packets around, who else is on the way, how large packets
// may be and in how many pieces, and who refuses them.
func TestKernelExtras(t *testing.T) {
	l, err := lab.New(lab.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.CloseAfter(t)
	startProgram(t, l, "shipworm", "")
	const masquerade = `chain post { type nat hook postrouting priority 100;
		oifname eth0 masquerade
	}`
	for i, k := range []struct {
		name    string
		rules   []string
		after   string // a command of the innermost host
		hairpin report.Hairpin
		hops    int
		cgnat   report.Verdict
		mtu     int
		pieces  report.Fragments
	}{
		{"home", []string{masquerade}, "", report.Hairpin{Verdict: report.No}, 1, report.NotTested, 1500, report.Fragments{Out: report.Yes, In: report.Yes}},
		{"hairpin", []string{`chain pre { type nat hook prerouting priority -100;
			iifname lan0 ip daddr WAN meta l4proto udp dnat to LAN
		}
		chain post { type nat hook postrouting priority 100;
			oifname eth0 masquerade
			iifname lan0 oifname lan0 snat to WAN
		}`}, "", report.Hairpin{Verdict: report.Yes, Source: report.ExternalSource}, 1, report.NotTested, 1500, report.Fragments{Out: report.Yes, In: report.Yes}},
		{"two at home", []string{masquerade, masquerade}, "", report.Hairpin{Verdict: report.No}, 2, report.Unknown, 1500, report.Fragments{Out: report.Yes, In: report.Yes}},
		{"carrier", []string{masquerade, masquerade}, "", report.Hairpin{Verdict: report.No}, 2, report.Yes, 1500, report.Fragments{Out: report.Yes, In: report.Yes}},
		{"pppoe", []string{masquerade}, "ip link set eth0 mtu 1492", report.Hairpin{Verdict: report.No}, 1, report.NotTested, 1492, report.Fragments{Out: report.Yes, In: report.No}}, // veth takes nothing larger
	} {
		t.Run(k.name, func(t *testing.T) {
			h := kernelHome(t, l, i, k.name, k.rules)
			if k.after != "" {
				output(t, h, k.after)
			}
			r := probeWith(t, h, Tests{Layers: true, Hairpin: true, MTU: true, Fragments: true})
			if r.Hairpin != k.hairpin || len(r.Layers) != k.hops || r.CGNAT != k.cgnat || r.MTU != k.mtu || r.Fragments != k.pieces {
				t.Errorf("hairpin %+v, routers %v, CGNAT %v, MTU %d, fragments %+v: %v", r.Hairpin, r.Layers, r.CGNAT, r.MTU, r.Fragments, r.Evidence)
			}
			for n, hop := range r.Layers {
				if hop.TTL != n+1 || !hop.Addr.IsValid() {
					t.Errorf("router %d: %+v", n, hop)
				}
			}
		})
	}
	// Two hosts that use one port behind Linux: the second keeps it where the
	// first has not been, and is moved where it has (RFC 4787, 8).
	for i, k := range []struct {
		name, rules   string
		collision     report.Collision
		deterministic report.Verdict
	}{
		{"collide", masquerade, report.Moved, report.No},
		{"collide-random", `chain post { type nat hook postrouting priority 100;
			oifname eth0 masquerade fully-random
		}`, report.CollisionUnknown, report.NotTested},
	} {
		t.Run(k.name, func(t *testing.T) {
			got := probeBoth(t, kernelHome(t, l, 5+i, k.name, []string{k.rules}))
			if got.Collision != k.collision || got.Deterministic != k.deterministic {
				t.Errorf("%v, deterministic %v: %v", got.Collision, got.Deterministic, got.Evidence)
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		h := kernelHome(t, l, 10, "refused", []string{`chain stop { type filter hook forward priority 0;
			meta l4proto udp reject
		}`})
		if r := probeFrom(t, h); r.Access != report.Blocked || r.Silence != report.UDPBlocked {
			t.Errorf("%v, %v after %v", r.Access, r.Silence, r.Duration)
		}
	})
	t.Run("dead", func(t *testing.T) {
		h := kernelHome(t, l, 11, "dead", []string{masquerade})
		c := probeConfig(t, h, Tests{})
		c.Servers[0] = addrPort("12.0.0.2:4000")
		if r := runFrom(t, c); r.Access != report.AccessUnknown || r.Silence != report.ServerDead {
			t.Errorf("%v, %v after %v", r.Access, r.Silence, r.Duration)
		}
	})
}

package invariant

import (
	"net/netip"
	"testing"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/sim"
)

// L-05: sim's routers keep to the rule, so the watcher is shown paths by hand.
func TestTimeToLive(t *testing.T) {
	type hop struct {
		up  bool
		ttl byte
	}
	const up, down = true, false
	for _, test := range []struct {
		name string
		path []hop
		bad  int
	}{
		{"no router", []hop{{up, 64}, {down, 64}}, 0},
		{"two routers", []hop{{up, 64}, {up, 63}, {down, 63}, {down, 62}}, 0},
		{"hairpin", []hop{{up, 64}, {down, 63}}, 0},
		{"router up forgot", []hop{{up, 64}, {up, 64}}, 1},
		{"router down forgot", []hop{{up, 64}, {down, 64}, {down, 64}}, 1},
		{"gained", []hop{{up, 3}, {down, 64}}, 1},
	} {
		bad := 0
		watch := timeToLive(func(sim.Transit) { bad++ })
		pkt := ipv4.AppendUDP(nil, 1, netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2"), nil)
		for _, h := range test.path {
			for ipv4.TTL(pkt) != h.ttl {
				ipv4.DecrementTTL(pkt)
			}
			watch(sim.Transit{ID: 1, Up: h.up, Packet: pkt})
			watch(sim.Transit{ID: 1, Up: h.up, Packet: pkt, Duplicate: true})
			watch(sim.Transit{ID: 2, Up: h.up, Packet: pkt, Forged: true})
		}
		if bad != test.bad {
			t.Errorf("%s: %d reports, want %d", test.name, bad, test.bad)
		}
	}
}

//go:build lab && linux

package teredo

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// hairpin turns packets from inside to the router's outside address around, to
// whoever has the port, as if they came from outside. For that it notes who sends
// from which port, which masquerading keeps.
const hairpin = `	map holders {
		type inet_service : ipv4_addr
		flags dynamic, timeout
		timeout 5m
		size 65536
	}
	chain note {
		type filter hook forward priority 0;
		iifname lan0 oifname eth0 meta l4proto udp update @holders { udp sport : ip saddr }
	}
	chain turn {
		type nat hook prerouting priority -100;
		iifname lan0 ip daddr WAN meta l4proto udp dnat to udp dport map @holders
	}
	chain outside {
		type nat hook postrouting priority 90;
		oifname lan0 ip saddr 192.168.1.0/24 meta l4proto udp ct status dnat snat to WAN
	}
`

// let has the same holders reached from everywhere.
const let = `	chain let {
		type nat hook prerouting priority -100;
		iifname eth0 meta l4proto udp dnat to udp dport map @holders
	}
`

// Two clients behind one NAT of Linux's own reach each other, whether it turns
// their packets around or not, with local discovery and without it. Miredo's do
// in none of six.
func TestLabKernelHairpin(t *testing.T) {
	t.Parallel()
	c := newCountry(t)
	c.ourServer("--listen", primary.String(), "--listen", secondary.String())
	type couple struct {
		name  string
		homes [2]resident
	}
	var couples []couple
	for i, k := range []struct{ name, rules string }{
		{"port-restricted", masquerade + silent},
		{"port-restricted that answers", masquerade + talkative},
		{"symmetric", masqueradeRandom + silent},
		{"port-restricted with hairpin", masquerade + silent + hairpin},
		{"cone with hairpin", masquerade + silent + hairpin + let},
	} {
		for j, how := range []string{"", "--local-discovery"} {
			p := couple{name: strings.TrimSpace(k.name + " " + how)}
			n := 2*i + j
			g := c.gateway(fmt.Sprint("router", n), netip.AddrFrom4([4]byte{198, 51, 100, byte(n + 1)}), k.rules)
			for m := range p.homes {
				h := g.host(fmt.Sprintf("home%d-%d", n, m))
				_, q := c.client(h, append([]string{"--server", primary.String() + "," + secondary.String(), "--tun", "teredo"}, strings.Fields(how)...)...)
				p.homes[m] = resident{Host: h, addr: q.Address.String()}
			}
			couples = append(couples, p)
		}
	}
	time.Sleep(3 * time.Second) // for the tests of the NATs
	var calls sync.WaitGroup
	for _, p := range couples {
		calls.Go(func() {
			for m := range p.homes {
				took, ok := c.call(&p.homes[m], p.homes[1-m].addr, 20)
				if !ok {
					t.Errorf("%s: %d does not reach the other", p.name, m+1)
				}
				t.Logf("%-48s %d ms", p.name, took.Milliseconds())
			}
		})
	}
	calls.Wait()
}

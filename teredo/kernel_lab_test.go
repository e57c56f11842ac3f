//go:build lab && linux

package teredo

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"shipworm/testnet/lab"
	"shipworm/testnet/link"
)

// A country is a laboratory whose routers are Linux's own: one that is the
// Internet, and one in front of each home. Everything is on veth pairs.
type country struct {
	*street
	internet *lab.Host
	hosts    int
}

const (
	uplink = "eth0" // of hosts and routers, towards the Internet
	inward = "lan0" // of routers
)

func newCountry(t *testing.T) *country {
	needs(t, "nft", "ip", "ping")
	c := &country{street: newStreet(t)}
	c.internet = c.bare("internet")
	c.must(c.internet, "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.icmp_ratelimit=0")
	c.unplug(c.server)
	c.connect(c.server, primary, secondary)
	return c
}

// bare returns a host that has no interface.
func (c *country) bare(name string) *lab.Host {
	c.t.Helper()
	c.hosts++
	h, err := c.lab.Host(name, link.Config{}, netip.AddrFrom4([4]byte{192, 0, 2, byte(c.hosts)}))
	if err != nil {
		c.t.Fatal(err)
	}
	c.unplug(h)
	return h
}

// unplug takes the laboratory's own line away.
func (c *country) unplug(h *lab.Host) {
	c.t.Helper()
	c.must(h, "ip link set "+uplink+" down && ip link set "+uplink+" name unused")
}

// linkOf is the name of the Internet's end of a host's link.
func linkOf(h *lab.Host) string { return "to-" + h.Name() }

// connect puts a host on the Internet.
func (c *country) connect(h *lab.Host, addrs ...netip.Addr) {
	c.t.Helper()
	far := linkOf(h)
	c.must(c.internet, fmt.Sprintf("ip link add %s type veth peer name %s netns %s && ip address add 10.255.0.1/32 dev %[1]s && ip link set %[1]s up",
		far, uplink, h.Netns()))
	c.must(h, "ip link set "+uplink+" up")
	for _, a := range addrs {
		c.must(h, fmt.Sprintf("ip address add %v/32 dev %s", a, uplink))
		c.must(c.internet, fmt.Sprintf("ip route add %v dev %s", a, far))
	}
	c.must(h, "ip route add default via 10.255.0.1 dev "+uplink+" onlink")
}

// public adds a host without a NAT.
func (c *country) public(name string, addr netip.Addr) *lab.Host {
	c.t.Helper()
	h := c.bare(name)
	c.connect(h, addr)
	return h
}

// gateway is a router of Linux's own with a home behind it.
type gateway struct {
	*lab.Host
	country *country
	addr    netip.Addr
	hosts   int
}

// gateway adds a router that has the given rules of nftables, in which WAN is its
// address. They count what they keep out as "strangers".
func (c *country) gateway(name string, addr netip.Addr, rules string) *gateway {
	c.t.Helper()
	g := &gateway{Host: c.bare(name), country: c, addr: addr}
	c.connect(g.Host, addr)
	c.must(g.Host, "ip link add "+inward+" type bridge && ip address add 192.168.1.1/24 dev "+inward+" && ip link set "+inward+" up && sysctl -qw net.ipv4.ip_forward=1")
	// What neighbours say to each other is none of the NAT's business.
	_, _ = c.shell(g.Host, "sysctl -qw net.bridge.bridge-nf-call-iptables=0")
	c.must(g.Host, "nft -f - <<END\ntable ip home {\n\tcounter strangers { }\n"+strings.ReplaceAll(rules, "WAN", addr.String())+"}\nEND")
	return g
}

// host adds a host at 192.168.1.2 and so on.
func (g *gateway) host(name string) *lab.Host {
	c := g.country
	c.t.Helper()
	h := c.bare(name)
	g.hosts++
	port := fmt.Sprint("port", g.hosts)
	c.must(g.Host, fmt.Sprintf("ip link add %s type veth peer name %s netns %s && ip link set %[1]s master %[4]s up", port, uplink, h.Netns(), inward))
	c.must(h, fmt.Sprintf("ip address add 192.168.1.%d/24 dev %s && ip link set %[2]s up && ip route add default via 192.168.1.1", g.hosts+1, uplink))
	return h
}

// strangers is how many packets the router had no mapping for.
func (g *gateway) strangers() int {
	if g == nil {
		return 0
	}
	g.country.t.Helper()
	n, _ := strconv.Atoi(regexp.MustCompile(`packets (\d+)`).FindStringSubmatch(g.country.must(g.Host, "nft list counter ip home strangers"))[1])
	return n
}

// sent returns the packets that each link of the Internet carried to it.
func (c *country) sent() map[string]int {
	c.t.Helper()
	var links []struct {
		Ifname  string
		Stats64 struct{ Rx struct{ Packets int } }
	}
	if err := json.Unmarshal([]byte(c.must(c.internet, "ip -j -s link")), &links); err != nil {
		c.t.Fatal(err)
	}
	n := map[string]int{}
	for _, l := range links {
		n[l.Ifname] = l.Stats64.Rx.Packets
	}
	return n
}

// Rules of nftables: what every NAT has, and what the kinds are made of.
const (
	masquerade = `	chain out {
		type nat hook postrouting priority 100;
		oifname eth0 masquerade
	}
`
	masqueradeRandom = `	chain out {
		type nat hook postrouting priority 100;
		oifname eth0 masquerade random,fully-random
	}
`
	// Whoever sends to one of these ports reaches the client, on whose port
	// no other mapping has been made.
	everybody = `	chain before {
		type nat hook prerouting priority -100;
		iifname eth0 udp dport 3600-3699 dnat to 192.168.1.2
	}
`
	silent = `	chain in {
		type filter hook input priority 0;
		iifname eth0 meta l4proto udp counter name strangers drop
	}
`
	// The kernel says that nobody listens, and keeps an entry of the packet,
	// which takes the port from who has it: its next packet to that stranger
	// leaves from another one.
	talkative = `	chain in {
		type filter hook input priority 0;
		iifname eth0 meta l4proto udp counter name strangers accept
	}
`
)

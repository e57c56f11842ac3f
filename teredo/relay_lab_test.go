//go:build lab && linux

package teredo

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"shipworm/testnet/lab"
	"shipworm/testnet/link"
)

const (
	nodeAddr   = "2001:db8:0:2::2"
	nodePrefix = "2001:db8:0:2::/64"
)

// coast is a street with native IPv6: from the server over a router, where a
// relay may run, to a node.
type coast struct {
	*street
	relay, node *lab.Host
	ours        []*lab.Host
}

func newCoast(t *testing.T, node func(*street) *lab.Host) *coast {
	s := newStreet(t)
	c := &coast{street: s}
	var err error
	if c.relay, err = s.lab.Host("relay", s.line, netip.MustParseAddr("198.51.100.200")); err != nil {
		t.Fatal(err)
	}
	if node == nil {
		node = func(s *street) *lab.Host {
			h, err := s.lab.Host("native", s.line, netip.MustParseAddr("198.51.100.201"))
			if err != nil {
				t.Fatal(err)
			}
			return h
		}
	}
	c.node = node(s)
	s.must(c.relay, "sysctl -q -w net.ipv6.conf.all.forwarding=1")
	for i, end := range []*lab.Host{s.server, c.node} {
		s.must(c.relay, fmt.Sprintf("ip link add v6-%d type veth peer name v6 netns %s && ip addr add 2001:db8:0:%d::1/64 dev v6-%[1]d nodad && ip link set v6-%[1]d up", i+1, end.Netns(), i+1))
		s.must(end, fmt.Sprintf("ip addr add 2001:db8:0:%d::2/64 dev v6 nodad && ip link set v6 up && ip -6 route add default via 2001:db8:0:%[1]d::1", i+1))
	}
	for i, end := range []*lab.Host{s.server, c.node} {
		// The kernel needs a second for its link-local address, and resolves
		// no neighbour before that.
		s.must(end, fmt.Sprintf("for i in $(seq 30); do ping -6 -q -c 1 -W 1 2001:db8:0:%d::1 && exit; done; exit 1", i+1))
	}
	return c
}

// ourRelay starts our relay and waits until it relays.
func (c *coast) ourRelay(h *lab.Host, args ...string) *process {
	c.t.Helper()
	p := c.shipworm(h, append([]string{"teredo", "relay", "--tun", "relay", "--port", "3545"}, args...)...)
	c.waitReady(h, 3545)
	return p
}

func (c *coast) miredoRelay() {
	c.t.Helper()
	c.miredo(c.relay, "miredo", "RelayType cone\nInterfaceName teredo\nBindAddress 198.51.100.200\nBindPort 3545\n")
	c.waitReady(c.relay, 3545)
}

// servers starts servers of pages and of iperf3.
func (c *coast) servers(hosts ...*lab.Host) {
	c.t.Helper()
	needs(c.t, "curl", "ping", "python3", "iperf3")
	for _, h := range hosts {
		c.start(h, "iperf3", "-s")
		c.listening(h, 5201)
		c.start(h, "python3", "-m", "http.server", "--bind", "::", "--directory", c.t.TempDir(), "8000")
		c.listening(h, 8000)
	}
}

// talk has a host ping another, read a page of it and send it data for a second.
func (c *coast) talk(from *lab.Host, to string) {
	c.t.Helper()
	// Without a deadline ping would not wait for the last answer for longer than
	// the others took.
	out, err := c.shell(from, "ping -6 -n -c 4 -i 0.2 -w 40 "+to)
	if err != nil {
		c.t.Errorf("%s: %v\n%s", from.Name(), err, out)
		c.t.Logf("the laboratory lost %d packets", c.lab.Dropped())
		for _, h := range c.ours {
			drops, _ := json.Marshal(c.state(h).Drops)
			c.t.Logf("the client of %s dropped %s", h.Name(), drops)
		}
	}
	if out, err := c.shell(from, "curl -sS -m 40 -o /dev/null -w '%{http_code}' 'http://["+to+"]:8000/'"); err != nil || out != "200" {
		c.t.Errorf("%s: curl: %v %s", from.Name(), err, out)
	}
	out, err = c.shell(from, "iperf3 -t 1 -c "+to)
	if err != nil {
		c.t.Errorf("%s: iperf3: %v %s", from.Name(), err, out)
	}
	for l := range strings.Lines(out) {
		if strings.Contains(l, "receiver") {
			c.t.Logf("from %s: %s", from.Name(), strings.TrimSpace(l))
		}
	}
}

// ourClient starts our client with an interface and returns its address.
func (c *coast) ourClient(h *lab.Host) string {
	c.t.Helper()
	_, q := c.client(h, "--tun", "teredo", "--default-route", "--open", "tcp/8000", "--open", "tcp/5201")
	c.ours = append(c.ours, h)
	return q.Address.String()
}

// Teredo clients, ours and Miredo's, behind NATs of several kinds, and a native
// host reach each other through our public relay: pings and TCP, begun by either.
// L-08
func TestLabRelay(t *testing.T) {
	t.Parallel()
	for _, whose := range []string{"our", "Miredo's"} {
		for _, profile := range []string{"cone", "port-restricted", "symmetric", "linux-open-input"} {
			t.Run(whose+" client, "+profile, func(t *testing.T) {
				t.Parallel()
				c := newCoast(t, nil)
				if whose == "our" {
					c.ourServer("--listen", primary.String(), "--listen", secondary.String(), "--native")
				} else {
					c.miredoServer()
				}
				c.ourRelay(c.relay, "--prefix", nodePrefix, "-v")
				home := c.home(profile)
				c.servers(c.node, home)
				var addr string
				if whose == "our" {
					addr = c.ourClient(home)
				} else {
					addr = c.miredoClient(home).String()
				}
				c.talk(home, nodeAddr)
				c.talk(c.node, addr)
			})
		}
	}
}

// The same with the native host first: nothing of the client's own tests has
// passed before.
func TestLabRelayNodeFirst(t *testing.T) {
	t.Parallel()
	for _, whose := range []string{"our", "Miredo's"} {
		t.Run(whose+" client", func(t *testing.T) {
			t.Parallel()
			c := newCoast(t, nil)
			c.ourServer("--listen", primary.String(), "--listen", secondary.String(), "--native")
			c.ourRelay(c.relay, "--prefix", nodePrefix)
			home := c.home("port-restricted")
			c.servers(home)
			var addr string
			if whose == "our" {
				addr = c.ourClient(home)
			} else {
				addr = c.miredoClient(home).String()
			}
			c.talk(c.node, addr)
		})
	}
}

// Our client and a native host reach each other through Miredo's relay.
func TestLabMiredoRelay(t *testing.T) {
	t.Parallel()
	for _, profile := range []string{"cone", "port-restricted", "symmetric", "linux-open-input"} {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			c := newCoast(t, nil)
			c.ourServer("--listen", primary.String(), "--listen", secondary.String(), "--native")
			c.miredoRelay()
			home := c.home(profile)
			c.servers(c.node, home)
			addr := c.ourClient(home)
			c.talk(home, nodeAddr)
			c.talk(c.node, addr)
		})
	}
}

// A host-specific relay, on the public network or behind a NAT of its own,
// serves its host: clients reach its open port and no other. T-29
func TestLabHostRelay(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"public", "port-restricted"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			var node func(*street) *lab.Host
			if where != "public" {
				node = func(s *street) *lab.Host { return s.home(where) }
			}
			c := newCoast(t, node)
			c.ourServer("--listen", primary.String(), "--native")
			c.ourRelay(c.node, "--open", "tcp/8000", "--open", "tcp/5201")
			home := c.home("port-restricted")
			c.servers(c.node, home)
			addr := c.ourClient(home)
			c.talk(home, nodeAddr)
			c.talk(c.node, addr)
			c.start(c.node, "python3", "-m", "http.server", "--bind", "::", "--directory", t.TempDir(), "8001")
			c.listening(c.node, 8001)
			if out, err := c.shell(home, "curl -sS -m 2 'http://["+nodeAddr+"]:8001/'"); err == nil || !strings.Contains(out, "timed out") {
				t.Errorf("%v %s", err, out)
			}
		})
	}
}

// A relay whose route somebody takes away ends, and says why: it has no
// privilege left to put it back, and who starts it again has. TR-03
func TestLabRelayMeddled(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"public": {"--prefix", nodePrefix}, "host": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCoast(t, nil)
			h := c.relay
			if args == nil {
				h = c.node
			}
			p := c.ourRelay(h, args...)
			c.must(h, "ip link set relay down && ip link set relay up")
			for range p.lines { // until it ends
			}
			_ = p.stop(syscall.SIGKILL)
			if code := p.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(p.stderr.String(), "somebody took the route to 2001::/32 away") {
				t.Errorf("exit code %d\n%s", code, &p.stderr)
			}
		})
	}
}

// A relay without native IPv6 ends at once, with exit code 3 and a hint, and
// leaves no interface.
func TestLabRelayWithoutNative(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	h, err := s.lab.Host("poor", link.Config{}, netip.MustParseAddr("198.51.100.202"))
	if err != nil {
		t.Fatal(err)
	}
	_, errOut, code := s.run(h, "teredo", "relay", "--tun", "relay")
	if code != 3 || !strings.HasPrefix(errOut, "shipworm: teredo: relay: no native IPv6 address\nhint: ") {
		t.Errorf("exit code %d\n%s", code, errOut)
	}
	if out, err := s.shell(h, "ip link show relay"); err == nil {
		t.Errorf("left behind: %s", out)
	}
}

//go:build lab && linux

package teredo

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"shipworm/teredo/firewall"
	"shipworm/teredo/stack"
	"shipworm/teredo/tun"
	"shipworm/teredo/udp"
	"shipworm/testnet/lab"
	"shipworm/testnet/link"
)

// bridged is a host of the laboratory with a network card of the kernel's own, at
// a bridge: packets between such hosts meet the kernel's offloads, and no
// simulation.
type bridged struct {
	*lab.Host
	outer netip.Addr
	inner netip.Addr
	dev   *tun.Device // nil: the kernel knows nothing of the tunnel
}

func (b *bridged) Listen(port uint16) (l net.Listener, err error) {
	b.dev.Open(firewall.Port{Proto: 6, Number: port})
	err = b.Do(func() error {
		l, err = net.ListenTCP("tcp6", net.TCPAddrFromAddrPort(netip.AddrPortFrom(b.inner, port)))
		return err
	})
	return l, err
}

func (b *bridged) ListenPacket(port uint16) (c net.PacketConn, err error) {
	if port != 0 {
		b.dev.Open(firewall.Port{Proto: 17, Number: port})
	}
	err = b.Do(func() error {
		c, err = net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(b.inner, port)))
		return err
	})
	return c, err
}

func (b *bridged) DialContext(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = b.Do(func() error {
		c, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// wires are what may lie under the tunnel.
var wires = []struct{ name, setup string }{
	{"runs pass the wire", "true"},
	{"single datagrams on the wire", "ethtool -K wire0 tx-udp-segmentation off gro off"},
	{"a card that adds up nothing", "ethtool -K wire0 tx off rx off"},
	{"MTU 1200", "ip link set wire0 mtu 1200"}, // below 1308: datagrams are fragmented
}

// TestLabStress: a host with the virtio device, one with the plain device and one
// in user space exchange what TestStress exchanges, with every kind of socket
// and over every kind of wire.
func TestLabStress(t *testing.T) {
	needs(t, "ip", "ethtool")
	for w, wire := range wires {
		for i, kind := range socketKinds {
			t.Run(wire.name+", "+kind.name, func(t *testing.T) {
				l, err := lab.New(lab.Config{Seed: *stressSeed})
				if err != nil {
					t.Fatal(err)
				}
				l.CloseAfter(t)
				f := fabric{peers: map[netip.Addr]netip.AddrPort{}, random: random(t, 0), bad: (w+i)%2 == 0}
				s := &street{t: t, lab: l}
				here(t, "ip link add stress type bridge && ip link set stress mtu 1500 up")
				// A namespace that nobody uses goes some time later, with what is in it.
				t.Cleanup(func() { here(t, "ip link del stress; ip link del stress0; ip link del stress1; ip link del stress2") })
				for i, device := range []string{"virtio", "plain", "stack"} {
					s.attach(&f, i, device, wire.setup, kind.open)
				}
				f.exchange(t, 256<<10, 200)
				for i, n := range f.nodes {
					st := n.socket.Stats()
					t.Logf("host %d: %d runs sent, %d received; %+v", i, n.runs.Load(), n.in.Load(), st)
					if n.runs.Load() == 0 && i != 1 {
						t.Errorf("host %d sent no runs: nothing is tested", i)
					}
					if st.WriteDrops+st.Truncated > 0 {
						t.Errorf("host %d: %+v", i, st)
					}
				}
			})
		}
	}
}

// here runs a command line in the network that the hosts' namespaces were made in.
func here(t *testing.T, line string) {
	t.Helper()
	if out, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

// attach adds a host to the bridge and the fabric.
func (s *street) attach(f *fabric, i int, device, setup string, open func(*net.UDPConn) udp.Socket) {
	t := s.t
	t.Helper()
	h, err := s.lab.Host(device, link.Config{}, netip.AddrFrom4([4]byte{203, 0, 113, byte(10 + i)}))
	if err != nil {
		t.Fatal(err)
	}
	b := &bridged{Host: h, outer: netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + i)}), inner: teredoAddr(i)}
	here(t, fmt.Sprintf("ip link add stress%d type veth peer name wire0 netns %s && ip link set stress%d master stress up", i, h.Netns(), i))
	s.must(h, fmt.Sprintf("ip addr add %v/24 dev wire0 && ip link set wire0 up && %s && sysctl -qw net.ipv4.tcp_ecn=1", b.outer, setup))
	var c *net.UDPConn
	var d Device
	var end endpoint = b
	if err := h.Do(func() (err error) {
		if c, err = udp.ListenPacket(t.Context(), netip.AddrPortFrom(b.outer, 0), udp.Config{}); err != nil || device == "stack" {
			return err
		}
		b.dev, err = tun.New(tun.Config{Name: "stress", Plain: device == "plain", Assign: func(a netip.Addr) error {
			return h.Do(func() error { return tun.NewAssign("stress", false)(a) })
		}})
		d = b.dev
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if device == "stack" {
		host, err := stack.New(stack.Config{})
		if err != nil {
			t.Fatal(err)
		}
		d, end = host, stacked{host}
	}
	f.join(d, end, open(c))
	f.peers[b.inner] = addrPort(c)
	if err := d.SetAddr(b.inner); err != nil {
		t.Fatal(err)
	}
	if device != "stack" {
		b.settle(t)
	}
}

// settle waits until the kernel has a route to the address of the interface: it
// takes packets in a moment after sockets can be bound.
func (b *bridged) settle(t *testing.T) {
	t.Helper()
	route := regexp.MustCompile(fmt.Sprintf(`(?m)^%x 80 .* 8[0-9a-f]{7} +stress$`, b.inner.As16())) // RTF_LOCAL
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		var routes []byte
		if err := b.Do(func() (err error) {
			routes, err = os.ReadFile("/proc/thread-self/net/ipv6_route")
			return err
		}); err != nil || time.Now().After(end) {
			t.Fatal("no address on the interface: ", err)
		}
		if route.Match(routes) {
			return
		}
	}
}

// teredoAddr is an address of 2001::/32 for host i.
func teredoAddr(i int) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i + 1)})
}

func addrPort(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

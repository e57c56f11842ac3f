package igd

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"shipworm/internal/leak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leak.Patient(m)) }

var (
	start    = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	outside  = netip.MustParseAddr("203.0.113.7")
	gateway  = netip.MustParseAddr("192.168.1.1")
	client   = netip.MustParseAddrPort("192.168.1.2:40000")
	neighbor = netip.MustParseAddrPort("192.168.1.3:40000")
)

func newRouter(t testing.TB, name string) *Router {
	t.Helper()
	p, ok := Lookup(name)
	if !ok {
		t.Fatalf("no profile %q", name)
	}
	r, err := New(start, Config{
		Profile: p, Gateway: &Memory{Addrs: []netip.Addr{outside}}, Address: gateway, HTTP: 5000, Seed: 1,
		SearchGroup: SearchGroup, ControlGroup: ControlGroup,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// served is a router that runs on loopback.
type served struct {
	*Router
	server          *Server
	control, search net.Addr
}

// serve runs a router until the test ends.
func serve(t *testing.T, name string) served {
	t.Helper()
	p, _ := Lookup(name)
	loopback := netip.MustParseAddr("127.0.0.1")
	r, err := New(time.Now(), Config{Profile: p, Gateway: &Memory{Addrs: []netip.Addr{outside}}, Address: loopback})
	if err != nil {
		t.Fatal(err)
	}
	var conns [3]net.PacketConn
	for i := range conns {
		if conns[i], err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	last := "" // a port that was closed can be the next one to be given out
	s := NewServer(r, Sockets{
		Control: conns[0], Search: conns[1], Stranger: conns[2],
		Listen: func() (l net.Listener, err error) {
			if l, err = net.Listen("tcp4", "127.0.0.1:0"); err == nil && l.Addr().String() == last {
				defer l.Close()
				l, err = net.Listen("tcp4", "127.0.0.1:0")
			}
			if err == nil {
				last = l.Addr().String()
			}
			return l, err
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return served{r, s, conns[0].LocalAddr(), conns[1].LocalAddr()}
}

// ask sends a datagram and returns the first answer, or nil after a while.
func ask(t *testing.T, to net.Addr, b []byte) []byte {
	t.Helper()
	c, err := net.Dial("udp4", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(busy))
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1<<16)
	n, err := c.Read(buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}

// upnp carries an action out, and returns the UPnP error and the answer.
func (r *Router) upnp(now time.Time, from netip.AddrPort, name, args string) (int, string) {
	p := r.page(now, from, "POST", "/ctl/WANIPConnection", []byte(action(name, args)))
	log := r.Requests()
	return log[len(log)-1].Result, p.body
}

// addUDP maps a UDP port of the client to the same one outside.
func (r *Router) addUDP(now time.Time, port, lease int) int {
	code, _ := r.upnp(now, client, "AddPortMapping", addArgs(port, port, client.Addr().String(), "UDP", lease))
	return code
}

// pmpAsk is a NAT-PMP request for UDP.
func pmpAsk(internal, external uint16, seconds uint32) []byte {
	b := []byte{0, 1, 0, 0}
	b = be.AppendUint16(be.AppendUint16(b, internal), external)
	return be.AppendUint32(b, seconds)
}

// pcpAsk is a PCP request for UDP with the client's address.
func pcpAsk(opcode byte, internal, external uint16, seconds uint32, rest ...byte) []byte {
	b := append([]byte{pcpVersion, opcode, 0, 0}, be.AppendUint32(nil, seconds)...)
	a := client.Addr().As16()
	b = append(b, a[:]...)
	if opcode == pcpAnnounce {
		return b
	}
	b = append(b, "nonce-of-12-"...)
	b = append(b, protoUDP, 0, 0, 0)
	b = be.AppendUint16(be.AppendUint16(b, internal), external)
	none := netip.IPv4Unspecified().As16()
	return append(append(b, none[:]...), rest...)
}

// one returns the payload of the only answer.
func one(t *testing.T, list []Datagram) []byte {
	t.Helper()
	if len(list) != 1 {
		t.Fatalf("%d answers, want one: %+v", len(list), list)
	}
	return list[0].Payload
}

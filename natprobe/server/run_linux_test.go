package server

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"shipworm/natprobe/message"
)

// A server that nothing reaches over UDP shows over TCP that it is there.
func TestTCPShowsServer(t *testing.T) {
	ports := freePorts(t, lo1, 2)
	start(t, Config{Listen: []netip.Addr{lo1}, Port: ports[0], OtherPort: ports[1]})
	c, err := net.Dial("tcp", netip.AddrPortFrom(lo1, ports[0]).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// freePorts returns n ports that nobody has at ip now, over UDP or TCP, and
// that the kernel gives to nobody who does not ask for them.
func freePorts(t *testing.T, ip netip.Addr, n int) []uint16 {
	t.Helper()
	var out []uint16
	for tries := 0; len(out) < n; tries++ {
		at := netip.AddrPortFrom(ip, uint16(20000+rand.IntN(12000)))
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		if err == nil {
			defer c.Close()
			var l net.Listener
			if l, err = net.Listen("tcp", at.String()); err == nil {
				defer l.Close()
				out = append(out, at.Port())
			}
		}
		if err != nil && tries == 100 {
			t.Fatal(err)
		}
	}
	return out
}

// start runs a server until the test ends.
func start(t *testing.T, c Config) *Server {
	t.Helper()
	ready, ended := make(chan struct{}), make(chan error, 1)
	c.OnReady = func() { close(ready) }
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- err
		t.Fatalf("Run = %v", err)
	}
	return s
}

// exchange sends a request from an unconnected socket and returns who answers.
func exchange(t *testing.T, to netip.AddrPort, req message.Message) (netip.AddrPort, message.Message) {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(to.Addr(), 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.WriteToUDPAddrPort(req.Append(nil), to); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2000)
	n, from, err := c.ReadFromUDPAddrPort(buf)
	if err != nil {
		t.Fatal(err)
	}
	m, err := message.Parse(buf[:n])
	if err != nil || m.Reflexive() != c.LocalAddr().(*net.UDPAddr).AddrPort() {
		t.Fatalf("%+v, %v", m, err)
	}
	return from, m
}

// The whole of 127.0.0.0/8 is this host's on Linux only. These two are of this
// process: nobody else takes a port there between a look and its use.
var lo1, lo2 = loopback(1), loopback(2)

func loopback(n byte) netip.Addr {
	pid := os.Getpid()
	return netip.AddrFrom4([4]byte{127, byte(1 + pid>>12%254), byte(pid >> 4), byte(pid%16)<<4 | n})
}

func TestRunTwoAddresses(t *testing.T) {
	ports := freePorts(t, lo1, 2)
	s := start(t, Config{Listen: []netip.Addr{lo1, lo2}, Port: ports[0], OtherPort: ports[1]})
	from, m := exchange(t, at(lo1, ports[0]), message.Message{ID: message.NewID(), ChangeIP: true, ChangePort: true})
	if from != at(lo2, ports[1]) || m.Origin != from || m.Other != from {
		t.Errorf("answer %+v from %v", m, from)
	}
	if from, _ := exchange(t, at(lo2, ports[1]), message.Message{ID: message.NewID()}); from != at(lo2, ports[1]) {
		t.Errorf("answer from %v", from)
	}
	if got := s.Counters(); got != (Counters{Answered: 2}) {
		t.Errorf("%+v", got)
	}
	if err := s.Run(t.Context()); !errors.Is(err, ErrRan) {
		t.Errorf("second Run = %v", err)
	}
}

// TestRunPair: two hosts act as one, and know when the other is gone.
func TestRunPair(t *testing.T) {
	ports := freePorts(t, lo1, 3)
	key := bytes.Repeat([]byte{9}, MinKey)
	alive := make(chan bool, 10)
	config := func(own, other netip.Addr) Config {
		return Config{
			Listen: []netip.Addr{own}, Port: ports[0], OtherPort: ports[1],
			Peer: &Peer{Public: other, Addr: at(other, ports[2]), Port: ports[2], Key: key},
		}
	}
	first := config(lo1, lo2)
	first.OnPeer = func(up bool) { alive <- up }
	start(t, first)
	if _, m := exchange(t, at(lo1, ports[0]), message.Message{ID: message.NewID()}); m.Other.IsValid() {
		t.Errorf("alone, and yet %+v", m)
	}
	start(t, config(lo2, lo1))
	if !<-alive {
		t.Fatal("the peer is gone before it came")
	}
	from, m := exchange(t, at(lo1, ports[0]), message.Message{ID: message.NewID(), ChangeIP: true, ChangePort: true})
	if from != at(lo2, ports[1]) || m.Origin != from || m.Other != from {
		t.Errorf("answer %+v from %v", m, from)
	}
}

func TestRunPortTaken(t *testing.T) {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at(lo1, 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := New(Config{Listen: []netip.Addr{lo1}, Port: freePorts(t, lo1, 1)[0], OtherPort: c.LocalAddr().(*net.UDPAddr).AddrPort().Port()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("Run = %v", err)
	}
}

//go:build linux

package main

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What comes from the server's port is counted and never read; all else is read
// and not counted.
func TestBareSocketCounts(t *testing.T) {
	server, peer := loopbackConn(t), loopbackConn(t)
	s, err := newBareSocket(0, uint32(server.LocalAddr().(*net.UDPAddr).Port))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(int(s))
	name, err := unix.Getsockname(int(s))
	if err != nil {
		t.Fatal(err)
	}
	to := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*unix.SockaddrInet4).Port}
	const answers, others = 5, 3
	for _, one := range []struct {
		from *net.UDPConn
		n    int
	}{{server, answers}, {peer, others}} {
		for range one.n {
			if _, err := one.from.WriteTo([]byte("datagram"), to); err != nil {
				t.Fatal(err)
			}
		}
	}
	m := rawMmsgs(s, 16, 64, 0)
	read := 0
	for read < others {
		n, err := m.receive(true)
		if err != nil {
			t.Fatal(err)
		}
		read += n
	}
	if n, err := m.receive(false); n != 0 || err != nil || read != others {
		t.Errorf("%d read and then %d, %v; want %d", read, n, err, others)
	}
	// Datagrams of two sockets may overtake each other.
	for end := time.Now().Add(time.Minute); s.counted() < answers && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if got := s.counted(); got != answers {
		t.Errorf("%d counted, want %d", got, answers)
	}
}

func loopbackConn(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

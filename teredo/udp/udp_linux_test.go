package udp

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"shipworm/teredo/packet"
)

func rawFD(t *testing.T, s Socket, f func(fd int)) {
	t.Helper()
	if err := s.(*mmsgSocket).raw.Control(func(fd uintptr) { f(int(fd)) }); err != nil {
		t.Fatal(err)
	}
}

// The kernel must not set DF on what this socket sends. T-34
func TestPathMTUDiscoveryIsOff(t *testing.T) {
	s := open(t, 0)
	rawFD(t, s, func(fd int) {
		v, err := unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER)
		if err != nil || v != unix.IP_PMTUDISC_DONT {
			t.Errorf("IP_MTU_DISCOVER = %d, %v; want IP_PMTUDISC_DONT (%d)", v, err, unix.IP_PMTUDISC_DONT)
		}
	})
}

func TestReceiveBufferIsRaised(t *testing.T) {
	s := open(t, 0)
	rawFD(t, s, func(fd int) {
		v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
		// Even the smallest net.core.rmem_max in use grants this much.
		if err != nil || v < 200_000 {
			t.Errorf("SO_RCVBUF = %d, %v; want at least 200000", v, err)
		}
	})
}

// An ICMP error that reaches the socket (here made visible with IP_RECVERR)
// must not end the read loop. T-33
func TestICMPErrorDoesNotEndTheReadLoop(t *testing.T) {
	s, peer := open(t, 0), open(t, 0)
	rawFD(t, s, func(fd int) {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1); err != nil {
			t.Fatal(err)
		}
	})
	// A socket with a peer of its own takes nothing from others, and nobody else
	// can get its port meanwhile.
	deaf, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(loopback), net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:9")))
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	nobody := addrPort(deaf.LocalAddr())
	out := make([]packet.Packet, 1)
	out[0].Set([]byte("to nobody"), nobody)
	for end := time.Now().Add(20 * time.Second); s.Stats().WriteDrops == 0 && time.Now().Before(end); {
		if _, err := s.WriteBatch(out); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.WriteBatch(out); err != nil { // the last error was for the writer
		t.Fatal(err)
	}
	out[0].Set([]byte("hello"), netip.AddrPortFrom(nobody.Addr(), s.LocalAddr().Port()))
	if _, err := peer.WriteBatch(out); err != nil {
		t.Fatal(err)
	}
	readN(t, s, 1)
	if st := s.Stats(); st.ReadErrors+st.WriteDrops == 0 {
		t.Error("no error was seen: the test did not provoke one")
	}
}

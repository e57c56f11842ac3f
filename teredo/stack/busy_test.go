package stack

import (
	"net/netip"
	"strings"
	"testing"

	"shipworm/teredo/packet"
)

// The receive path waits for nobody: neither for a program that does not read
// its socket, nor for a reader of the device that never comes. What does not
// fit is dropped. T-35
func TestNobodyReads(t *testing.T) {
	s := newStack(t, Config{Queue: 4}, addrA)
	pc, err := s.ListenPacket(5000)
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	const size, flood = 1200, 2000
	var p packet.Packet
	p.Set(udpPacket(addrA, 5000, strings.Repeat("x", size)), netip.AddrPort{})
	if size*flood < 2*udpBuffer {
		t.Fatal("the flood fits the socket's buffer: nothing would be tested")
	}
	for range flood { // a wait would be for ever, and end the test by its time-out
		if n, err := s.WriteBatch([]packet.Packet{p}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	for range 20 {
		feed(t, s, icmpPacket(addrA, icmpEchoRequest, 64, []byte{1, 2, 0, 1}))
	}
	if n := s.Drops()[DropQueueFull.String()]; n != 16 {
		t.Errorf("%d answers dropped of 20, with room for 4", n)
	}
	buf := make([]byte, 2*size)
	if n, _, err := pc.ReadFrom(buf); n != size || err != nil {
		t.Errorf("the program reads %d bytes, %v", n, err)
	}
}

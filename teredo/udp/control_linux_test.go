package udp

import (
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"shipworm/teredo/packet"
)

// TestRunSegment: the size of a run's datagrams, wherever it stands among the
// control messages, and nothing from what is cut off or makes no sense.
func TestRunSegment(t *testing.T) {
	gro := make([]byte, entrySize)
	putControl(gro, 0, unix.IPPROTO_UDP, unix.UDP_GRO, 4, 1280)
	odd := make([]byte, entrySize) // a message of two bytes, padded
	putControl(odd, 0, unix.IPPROTO_IP, unix.IP_TTL, 2, 64)
	short, long, negative := append([]byte(nil), gro...), append([]byte(nil), gro...), append([]byte(nil), gro...)
	putControl(short, 0, unix.IPPROTO_UDP, unix.UDP_GRO, 2, 1280)
	putControl(long, 0, unix.IPPROTO_UDP, unix.UDP_GRO, 100, 1280)
	putControl(negative, 0, unix.IPPROTO_UDP, unix.UDP_GRO, 4, -5)
	other := append([]byte(nil), gro...)
	putControl(other, 0, unix.IPPROTO_IP, unix.UDP_GRO, 4, 1280)
	for name, test := range map[string]struct {
		b    []byte
		want int
	}{
		"alone":         {gro, 1280},
		"without pad":   {gro[:headerSize+4], 1280},
		"behind":        {append(append([]byte(nil), odd...), gro...), 1280},
		"none":          {odd, 0},
		"cut":           {gro[:headerSize+3], 0},
		"two bytes":     {short[:headerSize+2], 0},
		"too long":      {long, 0},
		"negative":      {negative, 0},
		"another level": {other, 0},
	} {
		if got := runSegment(test.b[:len(test.b):len(test.b)]); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

// TestRunBehindSingle: a run does not become the last datagram of another.
func TestRunBehindSingle(t *testing.T) {
	s, r := open(t, 0), open(t, 1)
	b := make([]byte, 1000)
	pkts := make([]packet.Packet, 2)
	pkts[0].Set(b, r.LocalAddr())
	pkts[1].Set(b[:600], r.LocalAddr())
	pkts[1].Segment = 300
	if n, err := s.WriteBatch(pkts); n != 3 || err != nil {
		t.Errorf("WriteBatch = %d, %v", n, err)
	}
	collect(t, r, [][]byte{b, b[:300], b[300:600]})
}

// refusedOnce is a connection whose first read reports an ICMP message.
type refusedOnce struct {
	net.PacketConn
	was bool
}

func (c *refusedOnce) ReadFrom(b []byte) (int, net.Addr, error) {
	if !c.was {
		c.was = true
		return 0, nil, syscall.ECONNREFUSED
	}
	return c.PacketConn.ReadFrom(b)
}

// TestAdapterReadError: the same patience for connections of others. T-33
func TestAdapterReadError(t *testing.T) {
	c, err := net.ListenPacket("udp4", loopback.String())
	if err != nil {
		t.Fatal(err)
	}
	s := FromPacketConn(&refusedOnce{PacketConn: c})
	defer s.Close()
	out := make([]packet.Packet, 1)
	out[0].Set([]byte("behind it"), s.LocalAddr())
	if _, err := s.WriteBatch(out); err != nil {
		t.Fatal(err)
	}
	readN(t, s, 1)
	if s.Stats().ReadErrors != 1 {
		t.Errorf("%+v", s.Stats())
	}
}

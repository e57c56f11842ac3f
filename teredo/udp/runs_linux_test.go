package udp

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"shipworm/teredo/packet"
)

// collect reads until every byte of want is there, and compares the datagrams
// with want, in order.
func collect(t *testing.T, s Socket, want [][]byte) {
	t.Helper()
	pkts := packet.NewBatch(8, packet.RunSize)
	for len(want) > 0 {
		n, err := s.ReadBatch(pkts)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range split(pkts[:n], new([]packet.Packet)) {
			if len(want) == 0 || !bytes.Equal(p.Data(), want[0]) {
				t.Fatalf("got %d bytes, %d datagrams were still to come", p.Len, len(want))
			}
			want = want[1:]
		}
	}
}

// random makes packets and runs to two sockets, and what each is to get: no more
// than any receive buffer holds, also where nobody may ask for a larger one and
// each datagram takes a kilobyte beside its own, for nobody reads before all of
// it is sent.
func random(rng *rand.Rand, to [2]netip.AddrPort) (pkts []packet.Packet, want [2][][]byte) {
	for room := [2]int{200_000, 200_000}; len(pkts) < 200; {
		size := 1 + rng.IntN(1400)
		datagrams := 1
		if rng.IntN(2) == 0 {
			datagrams = 1 + rng.IntN(90)
		}
		length := size * datagrams
		if rng.IntN(2) == 0 {
			length -= rng.IntN(size)
		}
		length = min(length, 65000)
		b := make([]byte, length)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		var p packet.Packet
		d := rng.IntN(2)
		for range 1 + rng.IntN(4) { // neighbours that may be joined
			if room[d] -= length + 1024*datagrams; room[d] < 0 {
				return pkts, want
			}
			p.Set(b, to[d])
			if datagrams > 1 {
				p.Segment = size
			}
			pkts = append(pkts, p)
			for _, one := range split([]packet.Packet{p}, new([]packet.Packet)) {
				want[d] = append(want[d], one.Data())
			}
		}
	}
	return pkts, want
}

// TestRuns: whatever is sent in whatever pieces, the same datagrams arrive in
// the same order, between all kinds of sockets.
func TestRuns(t *testing.T) {
	for from := range kinds {
		for to := range kinds {
			t.Run(kinds[from].name+" to "+kinds[to].name, func(t *testing.T) {
				s, a, b := open(t, from), open(t, to), open(t, to)
				for seed := range uint64(8) {
					pkts, want := random(rand.New(rand.NewPCG(seed, 1)), [2]netip.AddrPort{a.LocalAddr(), b.LocalAddr()})
					n, err := s.WriteBatch(pkts)
					if err != nil || n != len(want[0])+len(want[1]) {
						t.Fatalf("WriteBatch = %d, %v; want %d", n, err, len(want[0])+len(want[1]))
					}
					collect(t, a, want[0])
					collect(t, b, want[1])
				}
			})
		}
	}
}

// TestRunArrivesWhole: equal datagrams cross in one piece, which is the point.
func TestRunArrivesWhole(t *testing.T) {
	s, r := open(t, 0), open(t, 1)
	out := packet.NewBatch(40, packet.DefaultSize)
	for i := range out {
		out[i].Off, out[i].Len, out[i].Addr = packet.Headroom, 1280, r.LocalAddr()
	}
	if _, err := s.WriteBatch(out); err != nil {
		t.Fatal(err)
	}
	in := packet.NewBatch(8, packet.RunSize)
	n, err := r.ReadBatch(in)
	if err != nil || n != 1 || in[0].Segment != 1280 || in[0].Len != 40*1280 {
		t.Errorf("%d packets, the first %d bytes in segments of %d, %v", n, in[0].Len, in[0].Segment, err)
	}
}

// TestTooLongForItsBuffer: such a datagram is dropped and counted.
func TestTooLongForItsBuffer(t *testing.T) {
	s, r := open(t, 0), open(t, 0)
	out := make([]packet.Packet, 2)
	out[0].Set(make([]byte, 3000), r.LocalAddr())
	out[1].Set([]byte("short"), r.LocalAddr())
	if _, err := s.WriteBatch(out); err != nil {
		t.Fatal(err)
	}
	in := packet.NewBatch(2, packet.DefaultSize)
	n, err := r.ReadBatch(in)
	if &in[0].Buf[0] == &in[1].Buf[0] {
		t.Error("two packets have one buffer")
	}
	if err != nil || n != 1 || string(in[0].Data()) != "short" || r.Stats().Truncated != 1 {
		t.Errorf("%d packets, %v, %+v", n, err, r.Stats())
	}
}

// TestTTL: a packet's own time to live, and the system's for those around it.
func TestTTL(t *testing.T) {
	for _, kind := range []int{0, 2, 3, 5, 6} {
		t.Run(kinds[kind].name, func(t *testing.T) {
			s := open(t, kind)
			c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(loopback))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			raw, err := c.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			system := 0
			if e := raw.Control(func(fd uintptr) {
				if system, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL); err == nil {
					err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTTL, 1)
				}
			}); e != nil || err != nil {
				t.Fatal(e, err)
			}
			out := make([]packet.Packet, 4)
			for i, ttl := range []uint8{0, 2, 3, 0} {
				out[i].Set([]byte{byte(i)}, addrPort(c.LocalAddr()))
				out[i].TTL = ttl
			}
			if n, err := s.WriteBatch(out); n != 4 || err != nil {
				t.Fatal(n, err)
			}
			for i, want := range []uint32{uint32(system), 2, 3, uint32(system)} {
				b, oob := make([]byte, 8), make([]byte, 64)
				_, n, _, _, err := c.ReadMsgUDPAddrPort(b, oob)
				if err != nil {
					t.Fatal(err)
				}
				cms, err := unix.ParseSocketControlMessage(oob[:n])
				if err != nil || len(cms) != 1 {
					t.Fatal(err, len(cms))
				}
				if got := binary.NativeEndian.Uint32(cms[0].Data); got != want || b[0] != byte(i) {
					t.Errorf("datagram %d: time to live %d, want %d", b[0], got, want)
				}
			}
		})
	}
}

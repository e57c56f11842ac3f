package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"shipworm/internal/leak"
	"shipworm/teredo/packet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leak.Patient(m)) }

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// kinds are the ways to a socket; the first is what Listen returns.
var kinds = []struct {
	name string
	from func(c *net.UDPConn) Socket
}{
	{"default", func(c *net.UDPConn) Socket { return From(c, Config{}) }},
	{"runs", func(c *net.UDPConn) Socket { return From(c, Config{Runs: true}) }},
	{"plain", func(c *net.UDPConn) Socket { return From(c, Config{Plain: true}) }},
	{"portable", func(c *net.UDPConn) Socket { return newBatchSocket(c) }},
	{"adapter", func(c *net.UDPConn) Socket { return FromPacketConn(c) }},
	{"single", func(c *net.UDPConn) Socket { s := newBatchSocket(c); s.single = true; return s }}, // Windows
	{"busy", func(c *net.UDPConn) Socket { return From(c, Config{Busy: true}) }},
}

func open(t testing.TB, kind int) Socket {
	t.Helper()
	c, err := ListenPacket(context.Background(), loopback, Config{})
	if err != nil {
		t.Fatal(err)
	}
	s := kinds[kind].from(c)
	t.Cleanup(func() { s.Close() })
	return s
}

// readN collects n datagrams, in however many batches they come.
func readN(t testing.TB, s Socket, n int) map[string]netip.AddrPort {
	t.Helper()
	got := make(map[string]netip.AddrPort)
	pkts := packet.NewBatch(8, packet.RunSize)
	for len(got) < n {
		k, err := s.ReadBatch(pkts)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range split(pkts[:k], new([]packet.Packet)) {
			got[string(p.Data())] = p.Addr
		}
	}
	return got
}

func TestBatchRoundTrip(t *testing.T) {
	for kind := range kinds {
		t.Run(kinds[kind].name, func(t *testing.T) {
			a, b := open(t, kind), open(t, kind)
			out := make([]packet.Packet, 20)
			for i := range out {
				out[i].Set(fmt.Appendf(nil, "datagram %d", i), b.LocalAddr())
			}
			if n, err := a.WriteBatch(out); n != len(out) || err != nil {
				t.Fatalf("WriteBatch = %d, %v; want %d, nil", n, err, len(out))
			}
			got := readN(t, b, len(out))
			for i := range out {
				if from := got[string(out[i].Data())]; from != a.LocalAddr() {
					t.Errorf("datagram %d came from %v, want %v", i, from, a.LocalAddr())
				}
			}
		})
	}
}

// A datagram that the system refuses (EMSGSIZE) is dropped and counted; those
// behind it still go out. T-33
func TestRefusedDatagramDoesNotStopABatch(t *testing.T) {
	for kind := range kinds {
		t.Run(kinds[kind].name, func(t *testing.T) {
			a, b := open(t, kind), open(t, kind)
			out := make([]packet.Packet, 3)
			out[0].Set([]byte("first"), b.LocalAddr())
			out[1].Set(make([]byte, 70000), b.LocalAddr())
			out[2].Set([]byte("last"), b.LocalAddr())
			if n, err := a.WriteBatch(out); n != 2 || err != nil {
				t.Errorf("WriteBatch = %d, %v; want 2, nil", n, err)
			}
			if d := a.Stats().WriteDrops; d != 1 {
				t.Errorf("WriteDrops = %d, want 1", d)
			}
			readN(t, b, 2)
		})
	}
}

func TestCloseUnblocksRead(t *testing.T) {
	for kind := range kinds {
		t.Run(kinds[kind].name, func(t *testing.T) {
			s := open(t, kind)
			done := make(chan error, 1)
			go func() {
				_, err := s.ReadBatch(packet.NewBatch(4, packet.DefaultSize))
				done <- err
			}()
			s.Close()
			select {
			case err := <-done:
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("ReadBatch after Close: %v, want net.ErrClosed", err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("ReadBatch did not return after Close")
			}
			var p packet.Packet
			p.Set([]byte("x"), netip.MustParseAddrPort("127.0.0.1:9"))
			if _, err := s.WriteBatch([]packet.Packet{p}); !errors.Is(err, net.ErrClosed) {
				t.Errorf("WriteBatch after Close: %v, want net.ErrClosed", err)
			}
		})
	}
}

func TestListenRefusesIPv6(t *testing.T) {
	if s, err := Listen(context.Background(), netip.MustParseAddrPort("[::1]:0"), Config{}); err == nil {
		s.Close()
		t.Error("Listen on an IPv6 address gave no error")
	}
}

func BenchmarkBatchLoopback(b *testing.B) {
	for kind := range kinds {
		b.Run(kinds[kind].name, func(b *testing.B) {
			s, r := open(b, kind), open(b, kind)
			out, in := packet.NewBatch(32, packet.DefaultSize), packet.NewBatch(32, packet.RunSize)
			for i := range out {
				out[i].Off, out[i].Len, out[i].Addr = packet.Headroom, 1280, r.LocalAddr()
			}
			b.ReportAllocs()
			b.SetBytes(32 * 1280)
			for b.Loop() {
				if _, err := s.WriteBatch(out); err != nil {
					b.Fatal(err)
				}
				for n := 0; n < 32*1280; {
					k, err := r.ReadBatch(in)
					if err != nil {
						b.Fatal(err)
					}
					for i := range in[:k] {
						n += in[i].Len
					}
				}
			}
		})
	}
}

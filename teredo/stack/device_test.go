package stack

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shipworm/teredo/packet"
	"shipworm/teredo/segment"
)

// TestStreamInAnyPieces: whatever room the reader offers for super-packets, and
// whatever sizes are written, the same bytes arrive.
func TestStreamInAnyPieces(t *testing.T) {
	for _, size := range []int{packet.DefaultSize, 5000, packet.RunSize} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			var wg sync.WaitGroup
			t.Cleanup(wg.Wait)
			a, b := newStack(t, Config{}, addrA), newStack(t, Config{}, addrB)
			pump(a, b, size, &wg)
			pump(b, a, size, &wg)
			l, err := b.Listen(80)
			if err != nil {
				t.Fatal(err)
			}
			want := make([]byte, 3<<20)
			rng := rand.New(rand.NewPCG(1, uint64(size)))
			for i := range want {
				want[i] = byte(rng.Uint32())
			}
			wg.Go(func() {
				c, err := a.DialContext(ctxT(t), "tcp", l.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				for rest := want; len(rest) > 0; {
					n := min(1+rng.IntN(1<<(rng.IntN(17))), len(rest))
					if _, err := c.Write(rest[:n]); err != nil {
						t.Error(err)
						return
					}
					rest = rest[n:]
				}
			})
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %v; want the %d that were written", len(got), err, len(want))
			}
			if d := a.Drops()["malformed"] + b.Drops()["checksum"]; d != 0 {
				t.Errorf("%v, %v", a.Drops(), b.Drops())
			}
		})
	}
}

// TestWrongChecksum: the stack below does not look any more, so the device must.
func TestWrongChecksum(t *testing.T) {
	s := newStack(t, Config{}, addrA)
	pc, err := s.ListenPacket(4000)
	if err != nil {
		t.Fatal(err)
	}
	p := []byte{0x60, 0, 0, 0, 0, 12, protoUDP, 64}
	p = append(p, addrB.AsSlice()...)
	p = append(p, addrA.AsSlice()...)
	p = append(p, 0x10, 0, 4000>>8, 4000&0xff, 0, 12, 0, 0, 'g', 'o', 'o', 'd')
	segment.SetChecksum(p)
	bad := bytes.Clone(p)
	copy(bad[48:], "evil")
	pkts := make([]packet.Packet, 2)
	pkts[0].Buf, pkts[0].Len = bad, len(bad)
	pkts[1].Buf, pkts[1].Len = p, len(p)
	if n, err := s.WriteBatch(pkts); n != 1 || err != nil {
		t.Errorf("WriteBatch = %d, %v; want 1", n, err)
	}
	b := make([]byte, 10)
	n, _, err := pc.ReadFrom(b)
	if err != nil || string(b[:n]) != "good" || s.Drops()["checksum"] != 1 {
		t.Errorf("%q, %v, %v", b[:n], err, s.Drops())
	}
}

// TestOldSourceInRuns: what waits in one piece when the address changes stays in,
// all of it.
func TestOldSourceInRuns(t *testing.T) {
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	a, b := newStack(t, Config{}, addrA), newStack(t, Config{}, addrB)
	pump(b, a, packet.RunSize, &wg)
	var gate sync.Mutex // whoever holds it keeps a from being read
	var changed atomic.Bool
	wg.Go(func() {
		pkts := packet.NewBatch(4, packet.DefaultSize)
		for {
			was := changed.Load() // what is read meanwhile may have been read before
			n, err := a.ReadBatch(pkts)
			if err != nil {
				return
			}
			for i := range pkts[:n] {
				if was && netip.AddrFrom16([16]byte(pkts[i].Data()[8:24])) == addrA {
					t.Error("a packet from the old address")
				}
			}
			_, _ = b.WriteBatch(pkts[:n])
			gate.Lock()
			gate.Unlock()
		}
	})
	l, err := b.Listen(80)
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.DialContext(ctxT(t), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	gate.Lock()
	for range 2 { // the reader takes the first, and stops
		if _, err := c.Write(make([]byte, 10000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.SetAddr(addrC); err != nil {
		t.Fatal(err)
	}
	changed.Store(true)
	gate.Unlock()
	for a.Drops()["old_source"] == 0 {
		time.Sleep(time.Millisecond)
	}
	// Something from the new one, behind all that.
	pc, err := a.ListenPacket(0)
	if err != nil {
		t.Fatal(err)
	}
	in, err := b.ListenPacket(4000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pc.WriteTo([]byte("new"), in.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	_ = in.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, from, err := in.ReadFrom(make([]byte, 9)); n != 3 || err != nil || from.(*net.UDPAddr).AddrPort().Addr() != addrC {
		t.Errorf("%d bytes from %v, %v", n, from, err)
	}
}

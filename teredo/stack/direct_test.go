package stack

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shipworm/teredo/packet"
)

// echo has s answer an echo request with this sequence number.
func echo(t *testing.T, s *Stack, seq byte) {
	t.Helper()
	feed(t, s, icmpPacket(addrA, icmpEchoRequest, 64, []byte{1, 2, 0, seq}))
}

// read returns the sequence numbers of the echo replies of one ReadBatch.
func read(t *testing.T, s *Stack) (seqs []byte) {
	t.Helper()
	pkts := packet.NewBatch(8, packet.DefaultSize)
	n, err := s.ReadBatch(pkts)
	if err != nil {
		t.Fatal(err)
	}
	for i := range pkts[:n] {
		seqs = append(seqs, sequence(pkts[i].Data()))
	}
	return seqs
}

func sequence(p []byte) byte { return p[ipv6HeaderLen+7] }

// TestDirect: a packet after a pause goes directly, if nobody has packets in
// hand; what is refused, and what follows, waits for the reader.
func TestDirect(t *testing.T) {
	var got []byte
	var refuse atomic.Bool
	s := newStack(t, Config{Direct: func(p []byte) bool {
		if !refuse.Load() {
			got = append(got, sequence(p))
		}
		return !refuse.Load()
	}}, addrA)
	echo(t, s, 1)
	if string(got) != "\x01" {
		t.Fatalf("directly %x, want 01", got)
	}
	s.link.last = time.Now().Add(time.Hour) // no pause
	echo(t, s, 2)
	s.link.last = time.Time{}
	echo(t, s, 3) // another waits before it
	if r := read(t, s); string(r) != "\x02\x03" {
		t.Errorf("read %x, want 0203", r)
	}
	s.link.last = time.Time{}
	echo(t, s, 4) // those are in hand
	if r := read(t, s); string(r) != "\x04" {
		t.Errorf("read %x, want 04", r)
	}
	refuse.Store(true)
	ended := make(chan []byte)
	go func() { ended <- read(t, s) }()
	for waits := false; !waits; { // until the reader has given its turn back
		s.link.mu.Lock()
		waits, s.link.last = !s.link.turn, time.Time{}
		s.link.mu.Unlock()
	}
	echo(t, s, 5)
	if r := <-ended; string(r) != "\x05" {
		t.Errorf("read %x, want 05", r)
	}
	if string(got) != "\x01" {
		t.Errorf("directly %x, want 01", got)
	}
}

// TestDirectFilter: what may not leave does not leave directly either.
func TestDirectFilter(t *testing.T) {
	s := newStack(t, Config{Direct: func(p []byte) bool {
		t.Errorf("% x left", p)
		return true
	}}, addrA)
	pc, err := s.ListenPacket(5000)
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	s.link.setAddr(addrC) // it lost the address
	s.link.last = time.Time{}
	_, _ = pc.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(addrB, 9)))
	if n := s.Drops()[DropOldSource.String()]; n != 1 {
		t.Errorf("drops: %v", s.Drops())
	}
}

// TestDirectTCP: a connection whose ends send directly now and then loses
// nothing, and what goes so is whole.
func TestDirectTCP(t *testing.T) {
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	var mu sync.Mutex // of whoever writes to b
	direct := 0
	var sent wire
	b := newStack(t, Config{}, addrB)
	a := newStack(t, Config{Direct: func(p []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		direct++
		sent.saw(p)
		return feed(t, b, p) == 1
	}}, addrA)
	wg.Go(func() {
		pkts := packet.NewBatch(64, packet.RunSize)
		for {
			n, err := a.ReadBatch(pkts)
			if err != nil {
				return
			}
			mu.Lock()
			for i := range pkts[:n] {
				for p := range pkts[i].Datagrams() {
					sent.saw(p)
				}
			}
			_, _ = b.WriteBatch(pkts[:n])
			mu.Unlock()
		}
	})
	pump(b, a, packet.RunSize, &wg)
	c, d := connect(t, a, b)
	defer c.Close()
	defer d.Close()
	for i := range 20 {
		time.Sleep(2 * pause)
		if _, err := c.Write([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		var got [2]byte
		if n, err := d.Read(got[:]); n != 1 || got[0] != byte(i) || err != nil {
			t.Fatalf("read %x, %v", got[:n], err)
		}
	}
	again := a.Retransmits() // where the machine stood still; what was lost comes once
	whole := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return again <= uint64(sent.again)
	}
	if ok := soon(whole); !ok || direct < 10 || b.Drops()["checksum"] != 0 {
		t.Errorf("%d went directly; %v; %d sent again, of which %d had come", direct, b.Drops(), again, sent.again)
	}
}

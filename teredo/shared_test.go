package teredo

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"

	"shipworm/teredo/packet"
	"shipworm/teredo/udp"
)

// Sockets that share a port get the datagrams of many peers, whole and in the
// order in which each peer sent them, a peer's at one of them; and one batch of
// any of them reaches all peers.
func TestListenShared(t *testing.T) {
	const peers, datagrams, window = 64, 12, 8 // any receive buffer holds what a window of peers send
	local := netip.MustParseAddrPort("127.0.0.1:0")
	socks, err := listenShared(t.Context(), local, 3, udp.Config{Runs: true})
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(socks)
	if runtime.GOOS != "linux" {
		t.Skip("no port is shared here")
	}
	if len(socks) != 3 {
		t.Fatalf("%d sockets", len(socks))
	}
	if s, err := udp.Listen(t.Context(), socks[0].LocalAddr(), udp.Config{}); err == nil {
		s.Close()
		t.Error("somebody else shares the port")
	}
	type came struct{ from, by, index int }
	arrived := make(chan came, peers*datagrams)
	var clients []udp.Socket
	which := map[netip.AddrPort]int{}
	for i := range peers {
		s, err := udp.Listen(t.Context(), local, udp.Config{Runs: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		which[s.LocalAddr()] = i
		clients = append(clients, s)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer closeAll(socks)
	for by, s := range socks {
		wg.Go(func() {
			pkts := packet.NewBatch(8, packet.RunSize)
			for {
				n, err := s.ReadBatch(pkts)
				if err != nil {
					return
				}
				for i := range pkts[:n] {
					for d := range pkts[i].Datagrams() {
						index := int(binary.BigEndian.Uint16(d))
						if len(d) != sizeAt(index) {
							index = -1
						}
						arrived <- came{which[pkts[i].Addr], by, index}
					}
				}
			}
		})
	}
	seen, by, used := [peers]int{}, [peers]int{}, map[int]bool{}
	for some := range slices.Chunk(clients, window) {
		for _, c := range some { // in one batch, some of it in runs
			if n, err := c.WriteBatch(numbered(datagrams, socks[0].LocalAddr())); n != datagrams || err != nil {
				t.Fatal(n, err)
			}
		}
		for range len(some) * datagrams {
			c := <-arrived
			if c.index != seen[c.from] || seen[c.from] > 0 && by[c.from] != c.by {
				t.Fatalf("peer %d: datagram %d at socket %d; %d had come, at %d", c.from, c.index, c.by, seen[c.from], by[c.from])
			}
			seen[c.from]++
			by[c.from] = c.by
			used[c.by] = true
		}
	}
	if len(used) != len(socks) {
		t.Errorf("%d peers at %d sockets", peers, len(used))
	}
	for _, s := range socks { // to everybody at once
		var out []packet.Packet
		for i := range datagrams {
			for _, c := range clients {
				out = append(out, numbered(i+1, c.LocalAddr())[i])
			}
		}
		if n, err := s.WriteBatch(out); n != len(out) || err != nil {
			t.Fatal(n, err)
		}
		for i, c := range clients {
			pkts := packet.NewBatch(8, packet.RunSize)
			for next := 0; next < datagrams; {
				n, err := c.ReadBatch(pkts)
				if err != nil {
					t.Fatal(err)
				}
				for k := range pkts[:n] {
					for d := range pkts[k].Datagrams() {
						if int(binary.BigEndian.Uint16(d)) != next || len(d) != sizeAt(next) || pkts[k].Addr != s.LocalAddr() {
							t.Fatalf("peer %d: %d bytes from %v, want datagram %d", i, len(d), pkts[k].Addr, next)
						}
						next++
					}
				}
			}
		}
	}
}

// sizeAt is the size of a numbered datagram: runs, their shorter ends, and
// others.
func sizeAt(i int) int {
	if i%8 < 5 {
		return 1280
	}
	return 20 + 97*(i%11)
}

func numbered(n int, to netip.AddrPort) []packet.Packet {
	pkts := make([]packet.Packet, n)
	for i := range pkts {
		pkts[i].Set(binary.BigEndian.AppendUint16(nil, uint16(i)), to)
		pkts[i].Buf = append(pkts[i].Buf, make([]byte, sizeAt(i)-2)...)
		pkts[i].Len = sizeAt(i)
	}
	return pkts
}

// TestStatsOf: every counter of every socket.
func TestStatsOf(t *testing.T) {
	one := udp.Stats{ReadErrors: 1, WriteDrops: 2, NotIPv4: 3, Truncated: 4, Refusals: 5}
	if got, want := statsOf([]udp.Socket{counting{st: one}, counting{st: one}}), (udp.Stats{ReadErrors: 2, WriteDrops: 4, NotIPv4: 6, Truncated: 8, Refusals: 10}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

type counting struct {
	udp.Socket
	st udp.Stats
}

func (c counting) Stats() udp.Stats { return c.st }

package devicetest

import (
	"bytes"
	"runtime"

	"shipworm/teredo/packet"
)

// sizes of payloads: around every limit, up to a packet of 65,535 bytes.
var sizes = []int{0, 1, 2, 3, 100, 1231, 1232, 1233, 1452, 2000, 9000, 32767, 60000, 65535 - udpHeader}

// take compares a packet with the datagram that it should carry.
func (h *harness) take(b, want []byte) {
	h.Helper()
	_, to, payload, err := parseUDP(b)
	if err != nil || to != h.peer || !bytes.Equal(payload, want) {
		h.Fatalf("%d bytes to %v, %v; want %d", len(payload), to, err, len(want))
	}
}

// outSizes: datagrams of every size come out as they were sent, in order, in
// batches of one and of many.
func (h *harness) outSizes() {
	for _, batch := range []int{1, 3, 64} {
		pkts := h.batch(batch, packet.RunSize)
		for i, n := range sizes {
			h.send(fill(n, uint64(i)))
		}
		for i := 0; i < len(sizes); {
			for _, b := range h.read(pkts) {
				h.take(b, fill(sizes[i], uint64(i)))
				i++
			}
		}
	}
}

// outFragments: what is longer than the MTU comes in pieces that are not.
func (h *harness) outFragments() {
	h.needsStack()
	pkts := h.batch(4, packet.DefaultSize)
	for i, n := range []int{1233, 2000, 9000, 30000} {
		want := fill(n, uint64(i))
		h.send(want)
		// As far as the ports, the packet is known; fragments come in any order.
		got := make([]byte, n+8)
		for left := n + 8; left > 0; {
			for _, b := range h.read(pkts) {
				if b[6] != protoFragment || b[40] != protoUDP {
					h.Fatalf("%d bytes of protocol %d", len(b), b[6])
				}
				left -= copy(got[be.Uint16(b[42:])&^7:], b[fragHeader:])
			}
		}
		if !bytes.Equal(got[8:], want) {
			h.Errorf("%d bytes: the fragments make others", n)
		}
	}
}

// outNoRoom: what does not fit in a buffer is dropped whole, what does comes.
func (h *harness) outNoRoom() {
	pkts := h.batch(4, packet.DefaultSize)
	room := packet.DefaultSize - packet.Headroom - udpHeader
	want := []int{100, room, 1}
	for _, n := range []int{100, room + 1, 60000, room, 5000, 1} {
		h.send(fill(n, 1))
	}
	for len(want) > 0 {
		for _, b := range h.read(pkts) {
			h.take(b, fill(want[0], 1))
			want = want[1:]
		}
	}
}

// outBuffers: what was read stays as it is while other buffers are read into,
// and the reader's head room is the reader's.
func (h *harness) outBuffers() {
	if n, err := h.Device.ReadBatch(nil); n != 0 || err != nil {
		h.Errorf("ReadBatch of no packets = %d, %v", n, err)
	}
	var read []packet.Packet
	var was [][]byte
	for i := range 20 {
		h.send(fill(1000+i, 2))
		pkts := h.batch(2, packet.DefaultSize)
		got := h.read(pkts)
		h.take(got[0], fill(1000+i, 2))
		read, was = append(read, pkts[0]), append(was, got[0])
	}
	for i := range read {
		p := &read[i]
		if !bytes.Equal(p.Data(), was[i]) {
			h.Errorf("packet %d changed after it was read", i)
		}
		if string(p.Buf[:packet.Headroom]) != spoilt {
			h.Fatal("the head room was written to")
		}
	}
}

// needsStack ends tests of a host that is none of IP.
func (h *harness) needsStack() {
	h.Helper()
	if h.Listener == nil {
		h.Skip("the host behind this device has neither TCP nor fragments")
	}
}

// mallocs returns how many allocations f makes, and everybody else meanwhile.
func mallocs(f func()) float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs - before.Mallocs)
}

// allocations: in the long run there are none, or as few as are promised. The
// quietest of several rounds counts.
func (h *harness) allocations() {
	if raceEnabled {
		h.Skip("the race detector allocates")
	}
	const count = 32
	out, in := h.batch(count, packet.DefaultSize), make([]packet.Packet, count)
	for i := range in {
		b := h.toHost(fill(1200, uint64(i)))
		in[i].Buf, in[i].Len = b, len(b)
	}
	reads, writes := 1e9, 1e9
	b := make([]byte, 2000)
	for range 20 {
		for i := range count {
			h.send(fill(1200, uint64(i)))
		}
		reads = min(reads, mallocs(func() {
			for got := 0; got < count; {
				n, err := h.Device.ReadBatch(out)
				if err != nil {
					h.Fatal(err)
				}
				got += n
			}
		}))
		writes = min(writes, mallocs(func() {
			if n, err := h.Device.WriteBatch(in); n != count || err != nil {
				h.Fatalf("WriteBatch = %d, %v", n, err)
			}
		}))
		for range count {
			if _, _, err := h.Socket.ReadFrom(b); err != nil {
				h.Fatal(err)
			}
		}
	}
	h.Logf("allocations a packet: %.2f to read, %.2f to write", reads/count, writes/count)
	if reads > h.ReadAllocs*count || writes > h.WriteAllocs*count {
		h.Errorf("allocations for %d packets: %v to read, %v to write", count, reads, writes)
	}
}

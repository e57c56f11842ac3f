package devicetest

import (
	"bytes"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"
	"unsafe"

	"shipworm/teredo/packet"
)

// harness is a Host in a test, and the peer that talks to it.
type harness struct {
	*testing.T
	*Host
	mtu  int
	peer netip.AddrPort // of a port of its own: connections outlive their test in the kernel
	seen map[*byte]bool // buffers that were given to ReadBatch
}

// fill makes bytes that differ by position and seed.
func fill(n int, seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, uint64(n)))
	b := make([]byte, 0, n+8)
	for len(b) < n {
		b = be.AppendUint64(b, rng.Uint64())
	}
	return b[:n]
}

// send has the host send a datagram.
func (h *harness) send(payload []byte) {
	h.Helper()
	if _, err := h.Socket.WriteTo(payload, net.UDPAddrFromAddrPort(h.peer)); err != nil {
		h.Fatalf("the host sends %d bytes: %v", len(payload), err)
	}
}

// expect has the host receive one datagram, and compares it.
func (h *harness) expect(want []byte) {
	h.Helper()
	b := make([]byte, 1<<16)
	n, from, err := h.Socket.ReadFrom(b)
	if err != nil {
		h.Fatalf("the host waits for %d bytes: %v", len(want), err)
	}
	if !bytes.Equal(b[:n], want) || from.(*net.UDPAddr).AddrPort() != h.peer {
		h.Fatalf("the host got %d bytes from %v, not the %d that were sent", n, from, len(want))
	}
}

// batch makes buffers to read into, and spoils them: who reads sees what is not
// the device's.
func (h *harness) batch(n, size int) []packet.Packet {
	pkts := packet.NewBatch(n, size)
	for i := range pkts {
		spoil(pkts[i].Buf)
		pkts[i].Off, pkts[i].Len, pkts[i].Segment = -1, -1, -1
		h.seen[unsafe.SliceData(pkts[i].Buf)] = true
	}
	return pkts
}

const spoilt = "spoilt! spoilt! spoilt! spoilt! spoilt! spoilt! spoilt! spoilt! " // packet.Headroom long

func spoil(b []byte) {
	for len(b) > 0 { // in pieces, which the race detector takes in one look
		b = b[copy(b, spoilt):]
	}
}

// read reads into pkts until something comes, checks it, and returns copies of
// the packets. A kernel may still send of connections of the tests before, to
// another port of the peer's.
func (h *harness) read(pkts []packet.Packet) (out [][]byte) {
	h.Helper()
	for len(out) == 0 {
		out = slices.DeleteFunc(h.readOnce(pkts), func(b []byte) bool {
			return b[6] == protoTCP && be.Uint16(b[42:]) != h.peer.Port()
		})
	}
	return out
}

func (h *harness) readOnce(pkts []packet.Packet) (out [][]byte) {
	h.Helper()
	n, err := h.Device.ReadBatch(pkts)
	if err != nil || n < 1 || n > len(pkts) {
		h.Fatalf("ReadBatch = %d, %v", n, err)
	}
	buffers := map[*byte]bool{}
	for i := range pkts {
		buffers[unsafe.SliceData(pkts[i].Buf)] = true
		if !h.seen[unsafe.SliceData(pkts[i].Buf)] {
			h.Fatalf("packet %d has a buffer that was not given", i)
		}
	}
	if len(buffers) != len(pkts) {
		h.Fatal("two packets have the same buffer")
	}
	for i := range pkts[:n] {
		p := &pkts[i]
		if p.Off != packet.Headroom || p.Len <= 0 || p.Segment < 0 || p.Segment > 0 && p.Segment >= p.Len {
			h.Fatalf("packet %d: %d bytes at %d in segments of %d", i, p.Len, p.Off, p.Segment)
		}
		first := len(out)
		for b := range p.Datagrams() {
			if err := whole(b, h.mtu); err != nil {
				h.Fatalf("packet %d, %d bytes in segments of %d: %v\n%x", i, p.Len, p.Segment, err, b[:min(len(b), 80)])
			}
			out = append(out, bytes.Clone(b))
		}
		h.checkRun(out[first:])
	}
	return out
}

// checkRun checks that neighbours of one run are what a network card would have
// made of one packet, or of several that follow each other.
func (h *harness) checkRun(run [][]byte) {
	h.Helper()
	for i, b := range run[1:] {
		prev := run[i]
		if !bytes.Equal(b[8:44], prev[8:44]) || b[6] != prev[6] || b[1] != prev[1] {
			h.Fatalf("one run of two flows: %x and %x", prev[:44], b[:44])
		}
		if b[6] != protoTCP {
			continue
		}
		if prev[53]&fin != 0 || be.Uint32(b[44:]) != be.Uint32(prev[44:])+uint32(len(prev)-ip6Header-dataOffset(prev)) {
			h.Fatalf("segments %d and %d of %d: flags %02x, %02x, sequence numbers %d, %d",
				i, i+1, len(run), prev[53], b[53], be.Uint32(prev[44:]), be.Uint32(b[44:]))
		}
	}
}

// write gives packets to the device, spoils their buffers, and returns how many
// were taken.
func (h *harness) write(pkts []packet.Packet) int {
	h.Helper()
	n, err := h.Device.WriteBatch(pkts)
	if err != nil {
		h.Fatalf("WriteBatch: %v", err)
	}
	for i := range pkts {
		spoil(pkts[i].Buf)
	}
	return n
}

// single makes packets of one datagram each.
func single(datagrams ...[]byte) []packet.Packet {
	pkts := make([]packet.Packet, len(datagrams))
	for i, b := range datagrams {
		pkts[i].Set(bytes.Clone(b), netip.AddrPort{})
	}
	return pkts
}

// toHost makes a packet with a datagram for the host's socket.
func (h *harness) toHost(payload []byte) []byte {
	return udp6(h.peer, netip.AddrPortFrom(Addr, Port), payload)
}

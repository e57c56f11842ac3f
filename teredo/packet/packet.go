// Package packet is the unit of work of Teredo's data plane: a datagram, or a
// run of equal datagrams, in a buffer that its user owns.
//
// Sockets (teredo/udp) and devices (teredo/stack) move slices of Packet, so
// that a batch costs one call and no allocation, and so that a run of
// segments can later cross a socket in one piece. The package holds no
// protocol: what the bytes mean is for the two ends to know.
//
//	pkts := packet.NewBatch(64, packet.DefaultSize)
//	n, err := socket.ReadBatch(pkts)
//	for i := range pkts[:n] {
//		handle(pkts[i].Addr, pkts[i].Data())
//	}
package packet

import (
	"iter"
	"net/netip"
)

const (
	// Headroom is how many bytes readers leave free before the data, so that
	// a header can be put in front without moving it.
	Headroom = 64

	// DefaultSize holds any datagram that a Teredo node accepts: 1,500 bytes
	// and the encapsulation headers, with head room.
	DefaultSize = 2048

	// RunSize holds the longest run of datagrams that the kernel hands over
	// in one piece, with head room.
	RunSize = 1<<16 + Headroom
)

// Packet is one datagram, or several of equal size laid end to end.
type Packet struct {
	// Buf is the whole buffer. Readers fill it and never replace it.
	Buf []byte

	// Off and Len say where the data lies: Buf[Off : Off+Len].
	Off, Len int

	// Segment is the size of each datagram of a run; the last may be
	// shorter. Zero means a single datagram.
	Segment int

	// TTL is the IPv4 time to live of what a socket sends; zero means the
	// system's choice. Readers leave it zero.
	TTL uint8

	// Addr is the peer at the other end of a socket: where the data came
	// from, or where it goes. Devices leave it alone.
	Addr netip.AddrPort
}

// Data returns the bytes of p. They stay valid until Buf is used again.
func (p *Packet) Data() []byte { return p.Buf[p.Off : p.Off+p.Len] }

// Datagrams yields the datagrams of a run, or the only one. They are valid as
// long as Data is.
func (p *Packet) Datagrams() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		b := p.Data()
		for size := p.Segment; size > 0 && len(b) > size; b = b[size:] {
			if !yield(b[:size:size]) {
				return
			}
		}
		yield(b)
	}
}

// Set makes p a view of b without copying: for writers that hold their data
// elsewhere. It replaces Buf, so never use it on a reader's packet.
func (p *Packet) Set(b []byte, to netip.AddrPort) {
	*p = Packet{Buf: b, Len: len(b), Addr: to}
}

// NewBatch returns n packets over one allocation, each with size bytes of
// buffer, ready to be read into.
func NewBatch(n, size int) []Packet {
	arena := make([]byte, n*size)
	pkts := make([]Packet, n)
	for i := range pkts {
		pkts[i].Buf = arena[i*size : (i+1)*size : (i+1)*size]
	}
	return pkts
}

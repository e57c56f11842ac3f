package sim

import (
	"net/netip"
	"slices"
	"time"

	"shipworm/testnet/internal/ipv4"
)

const (
	moreFragments = 0x2000           // RFC 791, 3.1
	pieceLife     = 60 * time.Second // RFC 1122, 3.3.2
	maxPieces     = 64               // datagrams that a host is putting together
	maxParts      = 256              // fragments of one datagram: 64 KiB over the smallest usual line
)

// fragment sends a packet that is too big for the line in pieces that fit (RFC
// 791, 3.2), and takes ownership of it. False, if it must not or cannot be cut,
// leaves it with the caller.
func (l *line) fragment(p *buffer, up bool, mtu int) bool {
	w := l.world
	pkt, header, ok := ipv4.Check(p.b)
	size := (mtu - ipv4.HeaderLen) &^ 7 // of the data in each piece but the last
	if !ok || ipv4.DontFragment(pkt) || header != ipv4.HeaderLen || size < 8 {
		return false
	}
	w.note(l.way(up), Fragmented, reasonTooBig, p)
	flags := be.Uint16(pkt[6:])
	for at, data := 0, pkt[header:]; at < len(data); at += size {
		end, more := at+size, uint16(moreFragments)
		if end >= len(data) {
			end, more = len(data), flags&moreFragments
		}
		f := w.buffers.twin(p, pkt[:header+end-at])
		copy(f.b[header:], data[at:end])
		be.PutUint16(f.b[2:], uint16(len(f.b)))
		be.PutUint16(f.b[6:], more|(flags&0x1fff+uint16(at/8)))
		be.PutUint16(f.b[10:], 0)
		be.PutUint16(f.b[10:], ^ipv4.Fold(ipv4.Sum(f.b[:header], 0)))
		if !l.send(f, up) {
			w.drop(l.way(up), f, reasonTooBig)
		}
	}
	w.buffers.release(p)
	return true
}

// pieces are the fragmented datagrams of which a host has a part, oldest first.
type pieces []*puzzle

// puzzle is one datagram; its fragments do not overlap.
type puzzle struct {
	src, dst uint32
	id       uint16
	proto    byte
	began    time.Time
	packetID uint64 // in the world
	parts    []part
	size     int // of all parts
	end      int // of the farthest
	total    int // known once the last part came
}

type part struct {
	at   int
	data []byte
}

// add takes in a fragment, and returns the whole packet once it is there. A
// datagram whose fragments overlap or are too many is given up: nobody honest
// makes those.
func (s *pieces) add(h *Host, id uint64, pkt []byte, header int) []byte {
	w := h.world
	now := w.Now()
	for len(*s) > 0 && (len(*s) > maxPieces || now.Sub((*s)[0].began) >= pieceLife) {
		old := (*s)[0]
		w.stats.Dropped++
		w.note(h.name, Dropped, reasonPieces, &buffer{b: old.packet(), origin: origin{id: old.packetID}})
		*s = (*s)[1:]
	}
	src, dst, label, proto := ipv4.Src(pkt), ipv4.Dst(pkt), be.Uint16(pkt[4:]), ipv4.Proto(pkt)
	i := slices.IndexFunc(*s, func(z *puzzle) bool {
		return z.src == src && z.dst == dst && z.id == label && z.proto == proto
	})
	if i < 0 {
		i = len(*s)
		*s = append(*s, &puzzle{src: src, dst: dst, id: label, proto: proto, began: now, packetID: id})
	}
	z := (*s)[i]
	at, data := ipv4.FragmentOffset(pkt), pkt[header:]
	for _, p := range z.parts {
		if at == p.at && len(data) == len(p.data) {
			return nil // a copy
		}
		if at < p.at+len(p.data) && p.at < at+len(data) || len(z.parts) == maxParts {
			*s = slices.Delete(*s, i, i+1)
			return nil
		}
	}
	z.parts = append(z.parts, part{at, slices.Clone(data)})
	z.size += len(data)
	z.end = max(z.end, at+len(data))
	if be.Uint16(pkt[6:])&moreFragments == 0 {
		z.total = at + len(data)
	}
	if z.total == 0 || z.size < z.total && z.end <= z.total {
		return nil
	}
	*s = slices.Delete(*s, i, i+1)
	if z.end > z.total || z.total > ipv4.MaxPayload+8 {
		return nil
	}
	return z.packet()
}

// packet puts together what is there.
func (z *puzzle) packet() []byte {
	from, to := netip.AddrPortFrom(ipv4.Addr(z.src), 0), netip.AddrPortFrom(ipv4.Addr(z.dst), 0)
	b := ipv4.AppendUDP(nil, z.id, from, to, nil)[:ipv4.HeaderLen]
	slices.SortFunc(z.parts, func(a, b part) int { return a.at - b.at })
	for _, p := range z.parts {
		b = append(b, p.data...)
	}
	b[9] = z.proto
	be.PutUint16(b[2:], uint16(min(len(b), 0xffff)))
	be.PutUint16(b[10:], 0)
	be.PutUint16(b[10:], ^ipv4.Fold(ipv4.Sum(b[:ipv4.HeaderLen], 0)))
	return b
}

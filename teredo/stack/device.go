package stack

import (
	"net"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"shipworm/teredo/packet"
	"shipworm/teredo/segment"
)

// outgoing is the state of the one goroutine that reads; most of it, of whoever
// has the link's turn.
type outgoing struct {
	turn  bool // the reader's
	alone packet.Packet
	bufs  [64]*stack.PacketBuffer
	super *stack.PacketBuffer // that parts takes apart
	parts segment.Splitter
	views [][]byte // of super, or of a packet
	next  int      // of bufs, and their number
	count int
}

// ReadBatch waits for packets that the host sends and copies as many as are
// there into pkts, behind packet.Headroom: single packets, and runs of one
// flow where a buffer has the room. It returns net.ErrClosed after Close. One
// goroutine reads at a time.
func (s *Stack) ReadBatch(pkts []packet.Packet) (int, error) {
	if len(pkts) == 0 {
		return 0, nil
	}
	o := &s.out
	for {
		kept := 0
		for kept < len(pkts) && o.turn && o.more() {
			if s.fill(&pkts[kept]) {
				kept++
			}
		}
		if kept > 0 {
			return kept, nil
		}
		if o.turn { // what was in hand has left
			o.turn = false
			s.link.endTurn()
		}
		n, closed := s.link.pop(o.bufs[:])
		if closed {
			return 0, net.ErrClosed
		}
		if n > 0 {
			o.turn, o.next, o.count = true, 0, n
			continue
		}
		select {
		case <-s.link.ready:
		case <-s.link.done:
		}
	}
}

func (o *outgoing) more() bool { return o.parts.More() || o.next < o.count }

// sendDirect reports whether a packet that came alone has been seen to.
func (s *Stack) sendDirect(b *stack.PacketBuffer) bool {
	if mss := int(b.GSOOptions.MSS); b.GSOOptions.Type != stack.GSONone && mss > 0 && b.Data().Size() > mss {
		return false // more than one packet
	}
	p := &s.out.alone
	return !s.single(p, b) || s.cfg.Direct(p.Data())
}

// single copies one packet into p, and reports whether it may leave.
func (s *Stack) single(p *packet.Packet, b *stack.PacketBuffer) bool {
	p.Off, p.Segment = packet.Headroom, 0
	p.Len = s.out.copy(p.Buf[packet.Headroom:], b)
	if b.GSOOptions.NeedsCsum { // TCP leaves it to the device
		segment.SetChecksum(p.Data())
	}
	return p.Len > 0 && s.outboundAllowed(p.Data()) || p.Len == 0 && s.malformed()
}

// fill puts the next packet or run into p, and reports whether there was one
// that may leave.
func (s *Stack) fill(p *packet.Packet) bool {
	o := &s.out
	room := p.Buf[packet.Headroom:]
	p.Off, p.Segment = packet.Headroom, 0
	if !o.parts.More() {
		b := o.bufs[o.next]
		o.bufs[o.next] = nil
		o.next++
		size := int(b.GSOOptions.MSS)
		if b.GSOOptions.Type == stack.GSONone || size == 0 {
			may := s.single(p, b)
			b.DecRef()
			return may
		}
		if o.parts.BeginParts(o.pieces(b), size) != nil {
			b.DecRef()
			return s.malformed()
		}
		o.super = b
	}
	n, length, err := o.parts.Next(room)
	switch {
	case err != nil:
		o.drop()
		return s.malformed()
	case !s.outboundAllowed(room[:min(n, length)]): // nor the others
		o.drop()
		return false
	case !o.parts.More():
		o.drop()
	}
	p.Len = n
	if n > length {
		p.Segment = length
	}
	return true
}

// drop gives up the super-packet.
func (o *outgoing) drop() {
	o.super.DecRef()
	o.super, o.parts = nil, segment.Splitter{}
}

func (s *Stack) malformed() bool {
	s.drop.add(DropMalformed)
	return false
}

// pieces returns what b consists of, valid until the next call. The stack's own
// AsSlices allocates.
func (o *outgoing) pieces(b *stack.PacketBuffer) [][]byte {
	o.views = o.views[:0]
	views, skip := b.AsViewList()
	for v := views.Front(); v != nil; v = v.Next() {
		part := v.AsSlice()
		n := min(skip, len(part))
		o.views, skip = append(o.views, part[n:]), skip-n
	}
	return o.views
}

// copy returns 0 if the packet does not fit.
func (o *outgoing) copy(to []byte, b *stack.PacketBuffer) int {
	if b.Size() > len(to) {
		return 0
	}
	n := 0
	for _, part := range o.pieces(b) {
		n += copy(to[n:], part)
	}
	return n
}

// incoming is the state of the one goroutine that writes.
type incoming struct {
	pkts [][]byte
	join segment.Coalescer
}

// WriteBatch hands packets that arrived for the host to it, those that the
// filter lets pass, and the neighbours of one TCP flow in one piece. The data
// is copied. It returns how many passed, and net.ErrClosed after Close. One
// goroutine writes at a time.
func (s *Stack) WriteBatch(pkts []packet.Packet) (int, error) {
	disp := s.link.disp.Load()
	select {
	case <-s.link.done:
		return 0, net.ErrClosed
	default:
	}
	if disp == nil {
		return 0, net.ErrClosed
	}
	in := &s.in
	in.pkts = in.pkts[:0]
	for i := range pkts {
		for data := range pkts[i].Datagrams() {
			if s.inboundAllowed(data) {
				in.pkts = append(in.pkts, data)
			}
		}
	}
	passed := 0
	for rest := in.pkts; len(rest) > 0; {
		n := in.join.Next(rest)
		if n > 1 || segment.Checked(rest[0]) {
			b := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: in.buffer(rest[:n])})
			(*disp).DeliverNetworkPacket(header.IPv6ProtocolNumber, b)
			b.DecRef()
			passed += n
		} else {
			s.drop.add(DropChecksum)
		}
		rest = rest[n:]
	}
	return passed, nil
}

// buffer makes one packet of neighbours, or of a single one. The headers have a
// view of their own: the stack copies the view that it reads them from.
func (in *incoming) buffer(pkts [][]byte) buffer.Buffer {
	h := segment.HeaderLen(pkts[0])
	headers := pkts[0][:h]
	if len(pkts) > 1 {
		headers = in.join.Header()
	}
	if h == 0 {
		return buffer.MakeWithData(pkts[0])
	}
	out := buffer.MakeWithData(headers)
	size := 0
	for _, p := range pkts {
		size += len(p) - h
	}
	if size > 0 {
		v := buffer.NewView(size)
		for _, p := range pkts {
			_, _ = v.Write(p[h:]) // there is room
		}
		_ = out.Append(v)
	}
	return out
}

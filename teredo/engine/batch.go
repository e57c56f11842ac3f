package engine

import (
	"net/netip"
	"time"

	"shipworm/teredo/packet"
	"shipworm/teredo/wire"
)

// ReceiveBatch is Receive for packets and runs as a socket brings them. What
// follows a packet of its own flow, from the same sender, is not looked at
// twice: that passed as data does not change what passes.
func (c *Client) ReceiveBatch(now time.Time, pkts []packet.Packet, out *Output) {
	var f follower
	for i := range pkts {
		from := pkts[i].Addr
		for d := range pkts[i].Datagrams() {
			if f.follows(from, d) {
				c.stats.received++
				out.Deliver = append(out.Deliver, d)
				continue
			}
			c.receive(now, 0, from, d, out)
			f.lead(from, d, out)
		}
	}
	c.ports.drain(out)
}

// ReceiveBatch is Receive for packets and runs as a socket brings them.
func (r *Relay) ReceiveBatch(now time.Time, pkts []packet.Packet, out *Output) {
	var f follower
	for i := range pkts {
		from := pkts[i].Addr
		for d := range pkts[i].Datagrams() {
			if f.follows(from, d) {
				if r.hop(d) {
					r.state.Received++
					out.Deliver = append(out.Deliver, d)
				}
				continue
			}
			r.Receive(now, from, d, out)
			f.lead(from, d, out)
			if f.first != nil && r.peers.entries[[16]byte(d[8:24])].trust != proven {
				f.first = nil // each of its packets counts
			}
		}
	}
}

// A follower knows the last datagram of a batch that was delivered as it came.
// Until another is, nothing happens that those behind it, of the same flow and
// from the same sender, could fare differently for.
type follower struct {
	first wire.Packet // nil: none
	from  netip.AddrPort
}

func (f *follower) follows(from netip.AddrPort, d []byte) bool {
	return f.first != nil && f.from == from && f.first.Continues(d)
}

// lead notes what became of a datagram.
func (f *follower) lead(from netip.AddrPort, d []byte, out *Output) {
	f.first = nil
	if n := len(out.Deliver); n > 0 && len(d) > 0 && &out.Deliver[n-1][0] == &d[0] {
		f.first, f.from = d, from
	}
}

// SendRun is Send for packets laid end to end, all of size bytes but the last,
// which may be shorter; size 0 stands for one packet. To a client that proved
// itself and is up, those of one flow go as one Transmit.
func (r *Relay) SendRun(now time.Time, run []byte, size int, out *Output) {
	if size <= 0 || size > len(run) {
		size = len(run)
	}
	sent, rest := len(out.Transmit), run[size:]
	r.Send(now, run[:size], out)
	if len(rest) > 0 && sent < len(out.Transmit) && &out.Transmit[sent].Payload[0] == &run[0] &&
		r.peers.entries[[16]byte(run[24:40])].trust == proven {
		t, first := &out.Transmit[sent], wire.Packet(run[:size])
		for len(rest) > 0 {
			d := rest[:min(size, len(rest))]
			if !first.Continues(d) {
				break
			}
			rest = rest[len(d):]
			if !r.hop(d) {
				break
			}
			t.Payload, t.Segment = run[:len(run)-len(rest)], size
			r.state.Sent++
		}
	}
	for len(rest) > 0 {
		n := min(size, len(rest))
		r.Send(now, rest[:n], out)
		rest = rest[n:]
	}
}

package engine

import (
	"bytes"
	"net/netip"
	"time"
)

// Bounds of the queues of packets that wait for a peer.
const (
	queuePackets = 4
	queueBytes   = 5120
	queueAge     = 6 * time.Second
	queuesBytes  = 4 << 20 // of all peers together
)

// queue holds a few packets in the order they came.
type queue struct {
	packets []waiting // nil until the first: most entries of a flood queue nothing
	bytes   int
}

type waiting struct {
	packet []byte
	from   netip.AddrPort // of received ones
	since  time.Time
}

// push copies packet into q, whose oldest packets make room: the sender has
// repeated them by now if they mattered.
func (c *Client) push(now time.Time, q *queue, packet []byte, from netip.AddrPort) {
	if len(packet) > queueBytes {
		c.drop(DropQueueFull)
		return
	}
	for len(q.packets) == queuePackets || q.bytes+len(packet) > queueBytes {
		c.pop(q)
		c.drop(DropQueueFull)
	}
	if c.peers.queued+len(packet) > queuesBytes {
		c.drop(DropQueueFull)
		return
	}
	q.packets = append(q.packets, waiting{bytes.Clone(packet), from, now})
	q.bytes += len(packet)
	c.peers.queued += len(packet)
}

// pop takes the oldest packet. q must hold one.
func (c *Client) pop(q *queue) waiting {
	w := q.packets[0]
	n := copy(q.packets, q.packets[1:])
	q.packets[n] = waiting{}
	q.packets = q.packets[:n]
	q.bytes -= len(w.packet)
	c.peers.queued -= len(w.packet)
	return w
}

// flush sends what waits for p, and delivers what waited for its proof.
func (c *Client) flush(now time.Time, p *peer, out *Output) {
	for len(p.out.packets) > 0 && !now.Before(p.hold) {
		old := now.Sub(p.out.packets[0].since) > queueAge
		if !old && !p.proof.affords(len(p.out.packets[0].packet)) {
			c.demand(now, p, out)
			if !p.trying {
				c.peers.due.set(p, now.Add(proofGap))
			}
			break
		}
		w := c.pop(&p.out)
		if old {
			c.drop(DropQueueOld)
			continue
		}
		c.transmitData(now, p, w.packet, 0, out)
	}
	for len(p.in.packets) > 0 {
		w := c.pop(&p.in)
		switch {
		case now.Sub(w.since) > queueAge:
			c.drop(DropQueueOld)
		case w.from != p.mapped:
			c.drop(DropUnproven)
		default:
			c.deliver(w.packet, out)
		}
	}
}

// emptyQueues drops what p has queued.
func (c *Client) emptyQueues(p *peer, why Drop) {
	for _, q := range []*queue{&p.out, &p.in} {
		for len(q.packets) > 0 {
			c.pop(q)
			c.drop(why)
		}
	}
}

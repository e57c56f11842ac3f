//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"time"
)

const (
	udpSize  = 1200 // bytes of payload
	udpBatch = 64   // datagrams a call at most
	// udpTick is how long a sender rests when it is ahead. What it owes after
	// a longer pause, the processor being elsewhere, is forgiven: a burst would
	// measure queues.
	udpTick  = 200 * time.Microsecond
	udpOwing = 2 * time.Millisecond
)

// udpSink counts datagrams that carry the number of the present probe.
func (l *loader) udpSink(pc net.PacketConn) {
	count := func(b []byte) {
		if len(b) == udpSize && binary.BigEndian.Uint64(b) == l.id.Load() {
			l.got.Add(1)
		}
	}
	if c, ok := pc.(*net.UDPConn); ok {
		m, err := newMmsgs(c, udpBatch, 2048, 0)
		for err == nil {
			var n int
			n, err = m.receive(true)
			for i := range n {
				count(m.bufs[i][:m.hdrs[i].n])
			}
		}
		return
	}
	for b := make([]byte, 2048); ; {
		n, _, err := pc.ReadFrom(b)
		if err != nil {
			return
		}
		count(b[:n])
	}
}

// expect prepares the count of a probe, and counted ends it.
func (l *loader) expect(o order) (answer, error) {
	l.id.Store(o.ID)
	l.got.Store(0)
	return answer{}, nil
}

func (l *loader) counted(order) (answer, error) { return answer{Packets: l.got.Load()}, nil }

// udp sends o.Rate datagrams a second to o.To for o.For, and returns how many
// it sent.
func (l *loader) udp(ctx context.Context, o order) (a answer, err error) {
	c, err := l.host.dial(ctx, "udp", o.From, loadAddr(o.To))
	if err != nil {
		return a, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(o.For + tcpWithin))
	send, err := batchSender(c, o.ID)
	if err != nil {
		return a, err
	}
	began := time.Now()
	for last := began; ; {
		now := time.Now()
		if now.Sub(began) >= o.For {
			break
		}
		if late := now.Sub(last) - udpOwing; late > 0 {
			last = last.Add(late)
		}
		n := min(int(now.Sub(last).Seconds()*o.Rate), udpBatch)
		if n == 0 {
			time.Sleep(udpTick)
			continue
		}
		last = last.Add(time.Duration(float64(n) / o.Rate * float64(time.Second)))
		sent, err := send(n)
		if err != nil {
			return a, err
		}
		a.Packets += int64(sent)
	}
	a.Took = time.Since(began)
	return a, nil
}

// batchSender returns what sends up to udpBatch datagrams of a probe.
func batchSender(c net.Conn, id uint64) (func(n int) (int, error), error) {
	if u, ok := c.(*net.UDPConn); ok {
		m, err := newMmsgs(u, udpBatch, udpSize, 0)
		if err != nil {
			return nil, err
		}
		for _, b := range m.bufs {
			binary.BigEndian.PutUint64(b, id)
		}
		return m.send, nil
	}
	b := binary.BigEndian.AppendUint64(make([]byte, 0, udpSize), id)[:udpSize]
	return func(n int) (int, error) {
		for i := range n {
			if _, err := c.Write(b); err != nil {
				return i, err
			}
		}
		return n, nil
	}, nil
}

func loadAddr(ip string) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(ip), loadPort)
}

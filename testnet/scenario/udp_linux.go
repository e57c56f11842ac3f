package scenario

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"shipworm/testnet/lab"
)

// open opens a UDP socket on a host, which is closed when the run ends.
func (v *real) open(host *lab.Host, local netip.AddrPort) (*net.UDPConn, error) {
	var conn *net.UDPConn
	network := "udp4" // a socket of both families would name addresses otherwise
	if local.Addr().Is6() {
		network = "udp6"
	}
	err := host.Do(func() (err error) {
		conn, err = net.ListenUDP(network, net.UDPAddrFromAddrPort(local))
		return err
	})
	if err != nil {
		return nil, err
	}
	context.AfterFunc(v.ctx, func() { conn.Close() })
	return conn, nil
}

// echo answers every datagram with itself, from the address that it was sent
// to.
func (v *real) echo(host *lab.Host, t *Task) error {
	for _, a := range t.Program.Host.all() {
		conn, err := v.open(host, netip.AddrPortFrom(a, t.Program.Port))
		if err != nil {
			return err
		}
		v.programs.Go(func() {
			b := make([]byte, 1<<16)
			for v.ctx.Err() == nil {
				if n, from, err := conn.ReadFromUDPAddrPort(b); err == nil {
					_, _ = conn.WriteToUDPAddrPort(b[:n], from) // as lossy as UDP is
				}
			}
		})
	}
	return nil
}

// ping sends datagrams on the beat, and ends once each was answered or given
// up.
func (v *real) ping(host *lab.Host, t *Task) error {
	local := netip.IPv4Unspecified()
	if t.Program.IPv6 {
		local = netip.IPv6Unspecified()
	}
	conn, err := v.open(host, netip.AddrPortFrom(local, 0))
	if err != nil {
		return err
	}
	p := &realPing{t: t, conn: conn, to: t.Program.target(), sent: map[int]time.Time{}}
	v.programs.Go(func() { p.send(v.ctx) })
	v.programs.Go(func() { p.receive(v.ctx) })
	return nil
}

type realPing struct {
	t    *Task
	conn *net.UDPConn
	to   netip.AddrPort

	mu   sync.Mutex
	sent map[int]time.Time // that wait for an answer
	all  bool              // nothing is sent any more
	last time.Time         // when the last answer counts
	got  int
}

func (p *realPing) send(ctx context.Context) {
	g := p.t.Program
	beat := time.NewTicker(g.Interval)
	defer beat.Stop()
	b := make([]byte, g.Size)
	for seq := 1; ; seq++ {
		putPing(b, p.t.Seed, seq)
		p.mu.Lock()
		p.sent[seq] = time.Now()
		p.all, p.last = seq == g.Count, time.Now().Add(g.Wait)
		p.mu.Unlock()
		p.t.Sent(seq)
		_, _ = p.conn.WriteToUDPAddrPort(b, p.to) // as lossy as UDP is
		if seq == g.Count {
			break
		}
		select {
		case <-beat.C:
		case <-ctx.Done():
			return
		}
	}
	p.conn.SetReadDeadline(time.Now().Add(g.Wait))
}

func (p *realPing) receive(ctx context.Context) {
	b := make([]byte, 1<<16)
	for ctx.Err() == nil {
		n, from, err := p.conn.ReadFromUDPAddrPort(b)
		now := time.Now()
		p.mu.Lock()
		over := p.all && (len(p.sent) == 0 || !now.Before(p.last))
		if err == nil && from == p.to {
			if seq, ok := pingNumber(b[:n], p.t.Seed); ok {
				if at, ok := p.sent[seq]; ok && now.Sub(at) <= p.t.Program.Wait {
					delete(p.sent, seq)
					p.got++
					p.t.Answer(now.Sub(at))
					over = p.all && len(p.sent) == 0
				}
			}
		}
		p.mu.Unlock()
		if over {
			break
		}
	}
	if ctx.Err() != nil {
		return
	}
	p.conn.Close()
	if p.got > 0 {
		p.t.Exit(0, "")
	} else {
		p.t.Exit(exitNegative, "no answer")
	}
}

package scenario

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"shipworm/testnet/lab"
)

// open opens a UDP socket on a host, which is closed when the run ends. As in
// simulation, what it sends over IPv4 may be cut on the way.
func (v *real) open(host *lab.Host, local netip.AddrPort) (*net.UDPConn, error) {
	var conn *net.UDPConn
	network := "udp4" // a socket of both families would name addresses otherwise
	level, discover, off := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT
	if local.Addr().Is6() {
		network = "udp6"
		level, discover, off = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DONT
	}
	err := host.Do(func() (err error) {
		conn, err = net.ListenUDP(network, net.UDPAddrFromAddrPort(local))
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := setOption(conn, level, discover, off); err != nil {
		conn.Close()
		return nil, err
	}
	context.AfterFunc(v.ctx, func() { conn.Close() })
	return conn, nil
}

func setOption(conn *net.UDPConn, level, option, value int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	if err := raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), level, option, value) }); err != nil {
		return err
	}
	return os.NewSyscallError("setsockopt", set)
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
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = true
	p.over()
}

// over reports whether every request was answered or given up, and has receive
// look again when that may be. The caller holds the lock.
func (p *realPing) over() bool {
	now := time.Now()
	last := now
	for _, at := range p.sent {
		if end := at.Add(p.t.Program.Wait); end.After(last) {
			last = end
		}
	}
	p.conn.SetReadDeadline(last)
	return last.Equal(now)
}

func (p *realPing) receive(ctx context.Context) {
	b := make([]byte, 1<<16)
	for ctx.Err() == nil {
		n, from, err := p.conn.ReadFromUDPAddrPort(b)
		now := time.Now()
		p.mu.Lock()
		if err == nil && from == p.to {
			if seq, ok := pingNumber(b[:n], p.t.Seed); ok {
				if at, ok := p.sent[seq]; ok && now.Sub(at) <= p.t.Program.Wait {
					delete(p.sent, seq)
					p.got++
					p.t.Answer(now.Sub(at))
				}
			}
		}
		over := p.all && p.over()
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

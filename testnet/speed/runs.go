//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"shipworm/teredo/udp"
)

const (
	runsPort    = 4001                 // where runs go
	runsBack    = 4002                 // where they come from, and what is told of them goes
	runsLength  = 65507 / innerMTU     // datagrams, as many as a message holds
	runsSend    = 4                    // messages a call
	runsReceive = 64                   // the same, at most
	runsWindow  = 2048                 // datagrams on their way, which a receive buffer holds
	runsTell    = 512                  // after this many, the reader says so
	runsLost    = 5 * time.Millisecond // without a word, and all on their way count as lost
	runsWake    = 100                  // questions, at most
)

// A runner sends runs of UDP datagrams, or reads them, and does nothing else: no
// device, no TCP, nothing looked at. What the line carries then is the most that
// any tunnel over it could. Losses would make it less, so that the sender keeps
// a window.
type runner struct {
	out, back *mmsgs // runs, and what is told of them
	conn      *net.UDPConn
	to        unix.RawSockaddrInet4
	sent      int64 // datagrams, or lost ones that count no more
	came      int64 // of them, as far as told
	total     int64 // that came, in all
}

// runsRole is a runner at an address, beside one at another.
func runsRole(ctx context.Context, args []string) (string, map[string]func(order) (answer, error), error) {
	own, err := netip.ParseAddr(args[0])
	if err != nil {
		return "", nil, err
	}
	peer, err := netip.ParseAddr(args[1])
	if err != nil {
		return "", nil, err
	}
	r := &runner{to: unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: peer.As4()}}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&r.to.Port))[:], runsPort)
	if r.conn, err = runsSocket(ctx, own, runsBack, unix.UDP_SEGMENT, innerMTU); err != nil {
		return "", nil, err
	}
	if r.out, err = newMmsgs(r.conn, runsSend, runsLength*innerMTU, 0); err != nil {
		return "", nil, err
	}
	for i := range runsSend {
		r.out.setTo(i, &r.to)
	}
	if r.back, err = newMmsgs(r.conn, 1, 8, 0); err != nil {
		return "", nil, err
	}
	conn, err := runsSocket(ctx, own, runsPort, unix.UDP_GRO, 1)
	if err != nil {
		return "", nil, err
	}
	in, err := newMmsgs(conn, runsReceive, 1<<16, 0)
	if err != nil {
		return "", nil, err
	}
	go readRuns(conn, in, netip.AddrPortFrom(peer, runsBack))
	return own.String(), map[string]func(order) (answer, error){"wake": r.wake, "tcp": r.run}, nil
}

// runsSocket opens a socket as tunnels have it, with an option for runs, that
// ends with ctx.
func runsSocket(ctx context.Context, own netip.Addr, port uint16, option, value int) (*net.UDPConn, error) {
	c, err := udp.ListenPacket(ctx, netip.AddrPortFrom(own, port), udp.Config{})
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { c.Close() })
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	if e := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, option, value) }); e != nil || err != nil {
		return nil, errors.Join(e, os.NewSyscallError("setsockopt", err))
	}
	return c, nil
}

// readRuns counts datagrams, whole runs or not, and tells now and then how many
// have come. What is shorter than one asks for that.
func readRuns(c *net.UDPConn, in *mmsgs, to netip.AddrPort) {
	var got, told int64
	b := make([]byte, 8)
	for {
		n, err := in.receive(true)
		if err != nil {
			return
		}
		asked := false
		for i := range n {
			k := int64(in.hdrs[i].n / innerMTU)
			got += k
			asked = asked || k == 0
		}
		if asked || got-told >= runsTell {
			told = got
			binary.BigEndian.PutUint64(b, uint64(got))
			_, _ = c.WriteToUDPAddrPort(b, to)
		}
	}
}

// listen waits for what is told and takes it in.
func (r *runner) listen() error {
	_ = r.conn.SetReadDeadline(time.Now().Add(runsLost))
	n, err := r.back.receive(true)
	if n == 1 {
		total := int64(binary.BigEndian.Uint64(r.back.bufs[0]))
		r.came, r.total = r.came+total-r.total, total
	}
	return err
}

// wake finds the way to the other end, and how many came there before.
func (r *runner) wake(order) (a answer, err error) {
	r.out.setLen(0, 1)
	defer r.out.setLen(0, len(r.out.bufs[0]))
	for range runsWake {
		if _, err = r.out.send(1); err != nil {
			return a, err
		}
		if err = r.listen(); err == nil {
			r.sent, r.came = 0, 0
			return a, nil
		}
	}
	return a, fmt.Errorf("the other end says nothing: %w", err)
}

// run sends for o.For, and returns how much TCP the datagrams that arrived would
// have held.
func (r *runner) run(o order) (a answer, err error) {
	first := r.total
	began := time.Now()
	for time.Since(began) < o.For {
		n, err := r.out.send(runsSend)
		if err != nil {
			return a, err
		}
		r.sent += int64(n) * runsLength
		for r.sent-r.came > runsWindow {
			if err := r.listen(); errors.Is(err, os.ErrDeadlineExceeded) {
				r.sent = r.came
			} else if err != nil {
				return a, err
			}
		}
	}
	a.Took = time.Since(began)
	a.Bytes = (r.total - first) * innerPayload
	return a, nil
}

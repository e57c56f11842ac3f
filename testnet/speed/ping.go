//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// pingEvery leaves the machine time to come to rest between two pings, so
	// that every program on the way has to be woken, as it has to be in life.
	pingEvery  = 4 * time.Millisecond
	pingSize   = 56 // bytes of data, as ping sends
	pingWithin = time.Second
	pingLate   = 5 * time.Second

	// A path is awake when it has answered wakePings, within wakeWithin.
	wakePings  = 3
	wakeEach   = 300 * time.Millisecond
	wakeWithin = 6 * time.Second

	echoRequest, echoReply = 128, 129 // ICMPv6 types: RFC 4443, 4
	icmp6Filter            = 1        // socket option of linux/icmpv6.h
)

// A pinger sends one echo request and returns the time until its answer.
type pinger func(ctx context.Context, within time.Duration) (time.Duration, error)

// ping sends o.Count pings to o.To, one at a time, and fewer if that takes much
// longer than o.For.
func (l *loader) ping(ctx context.Context, o order) (a answer, err error) {
	// A round trip in the kernel ends with the thread that sent.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p, stop, err := l.pinger(o)
	if err != nil {
		return a, err
	}
	defer stop()
	next := time.Now()
	end := next.Add(o.For + pingLate)
	for i := 0; i < o.Count && time.Now().Before(end); i++ {
		d, err := p(ctx, pingWithin)
		if err == nil {
			a.Times = append(a.Times, float64(d.Nanoseconds())/1e3)
		} else if !errors.Is(err, os.ErrDeadlineExceeded) {
			return a, err
		}
		next = next.Add(pingEvery)
		if d := time.Until(next); d > 0 {
			time.Sleep(d)
		} else {
			next = time.Now()
		}
	}
	return a, nil
}

// wake pings o.To until the path has come awake: a tunnel forgets a peer that
// was silent for a while, and another path's turn is that long.
func (l *loader) wake(ctx context.Context, o order) (a answer, err error) {
	p, stop, err := l.pinger(o)
	if err != nil {
		return a, err
	}
	defer stop()
	answers := 0
	for end := time.Now().Add(wakeWithin); answers < wakePings; {
		if time.Now().After(end) {
			return a, fmt.Errorf("%d answers to pings within %v", answers, wakeWithin)
		}
		if _, err := p(ctx, wakeEach); err == nil {
			answers++
		} else if !errors.Is(err, os.ErrDeadlineExceeded) {
			return a, err
		}
	}
	return a, nil
}

func (l *loader) pinger(o order) (pinger, func(), error) {
	to, err := netip.ParseAddr(o.To)
	if err != nil {
		return nil, nil, err
	}
	from, err := netip.ParseAddr(o.From)
	if err != nil {
		return nil, nil, err
	}
	return l.host.pinger(from, to)
}

// pinger pings as ping does: from the moment before the system call that sends
// to the moment when the kernel has the answer.
func (kernel) pinger(from, to netip.Addr) (pinger, func(), error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		return nil, nil, os.NewSyscallError("socket", err)
	}
	var filter unix.ICMPv6Filter // a bit set blocks a type
	for i := range filter.Data {
		filter.Data[i] = ^uint32(0)
	}
	filter.Data[echoReply/32] &^= 1 << (echoReply % 32)
	for _, err := range []error{
		unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, icmp6Filter, &filter),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.Bind(fd, &unix.SockaddrInet6{Addr: from.As16()}),
		unix.Connect(fd, &unix.SockaddrInet6{Addr: to.As16()}),
	} {
		if err != nil {
			unix.Close(fd)
			return nil, nil, fmt.Errorf("ping socket from %v to %v: %w", from, to, err)
		}
	}
	p := kernelPinger{fd: fd, id: uint16(os.Getpid())}
	return p.once, func() { unix.Close(fd) }, nil
}

type kernelPinger struct {
	fd  int
	id  uint16
	seq uint16
}

func (p *kernelPinger) once(_ context.Context, within time.Duration) (time.Duration, error) {
	p.seq++
	b := make([]byte, 8+pingSize)
	b[0] = echoRequest // the kernel fills in the checksum
	binary.BigEndian.PutUint16(b[4:], p.id)
	binary.BigEndian.PutUint16(b[6:], p.seq)
	sent := time.Now()
	end := sent.Add(within)
	if err := unix.Send(p.fd, b, 0); err != nil {
		return 0, os.NewSyscallError("send", err)
	}
	in, oob := make([]byte, 256), make([]byte, 64)
	for {
		left := unix.NsecToTimeval(max(time.Until(end), time.Microsecond).Nanoseconds())
		if err := unix.SetsockoptTimeval(p.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &left); err != nil {
			return 0, os.NewSyscallError("setsockopt", err)
		}
		n, on, _, _, err := unix.Recvmsg(p.fd, in, oob, 0)
		switch {
		case err == unix.EAGAIN:
			return 0, os.ErrDeadlineExceeded
		case err == unix.EINTR:
		case err != nil:
			return 0, os.NewSyscallError("recvmsg", err)
		case n == len(b) && in[0] == echoReply && binary.BigEndian.Uint32(in[4:]) == binary.BigEndian.Uint32(b[4:]):
			at, err := stamp(oob[:on])
			return at.Sub(sent.Round(0)), err
		}
	}
}

// stamp returns when the kernel received a packet.
func stamp(oob []byte) (time.Time, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return time.Time{}, err
	}
	for _, m := range msgs {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			return time.Unix((*unix.Timespec)(unsafe.Pointer(&m.Data[0])).Unix()), nil
		}
	}
	return time.Time{}, errors.New("the kernel did not say when it received a packet")
}

// pinger pings from the userspace stack, whose own waking up counts.
func (h stackHost) pinger(_, to netip.Addr) (pinger, func(), error) {
	return func(ctx context.Context, within time.Duration) (time.Duration, error) {
		one, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		d, err := h.Ping(one, to, pingSize)
		if err != nil && one.Err() != nil && ctx.Err() == nil {
			err = os.ErrDeadlineExceeded
		}
		return d, err
	}, func() {}, nil
}

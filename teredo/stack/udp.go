package stack

import (
	"bytes"
	"errors"
	"net"
	"os"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// newUDP opens a socket that is bound to port, if to is nil, or connected.
func (s *Stack) newUDP(port uint16, to *tcpip.FullAddress) (*PacketConn, error) {
	room := &waiter.Queue{}
	ep, err := s.s.NewEndpoint(udp.ProtocolNumber, ipv6.ProtocolNumber, room)
	if err != nil {
		return nil, errors.New(err.String())
	}
	op := "bind"
	if to == nil {
		err = ep.Bind(tcpip.FullAddress{Port: port})
	} else {
		op, err = "connect", ep.Connect(*to)
	}
	if err != nil {
		ep.Close()
		return nil, &net.OpError{Op: op, Net: "udp6", Err: errors.New(err.String())}
	}
	return &PacketConn{s: s, c: gonet.NewUDPConn(room, ep), ep: ep, room: room, connected: to != nil}, nil
}

// send writes one datagram, and waits for room in the socket's buffer. gonet
// would begin to watch for room only after it found none: if all that was in
// the buffer left in between, nothing would ever wake it.
func (p *PacketConn) send(b []byte, to *net.UDPAddr) (int, error) {
	opts := tcpip.WriteOptions{}
	if to != nil {
		opts.To = &tcpip.FullAddress{Addr: tcpip.AddrFromSlice(to.IP.To16()), Port: uint16(to.Port)}
	}
	var room <-chan struct{}
	for {
		left, limited := p.untilDeadline()
		if limited && left <= 0 {
			return 0, os.ErrDeadlineExceeded
		}
		r := bytes.NewReader(b)
		n, err := p.ep.Write(r, opts)
		if err == nil {
			return int(n), nil
		}
		if _, full := err.(*tcpip.ErrWouldBlock); !full || p.closed.Load() {
			return int(n), errors.New(err.String())
		}
		if room == nil {
			var e waiter.Entry
			e, room = waiter.NewChannelEntry(waiter.WritableEvents)
			p.room.EventRegister(&e)
			defer p.room.EventUnregister(&e)
			continue // there may be room by now
		}
		if !limited {
			<-room // or the deadline is another, or the socket closed
			continue
		}
		late := time.NewTimer(left)
		select {
		case <-room:
		case <-late.C:
		}
		late.Stop()
	}
}

// untilDeadline returns how long a write may take, if that is limited.
func (p *PacketConn) untilDeadline() (left time.Duration, limited bool) {
	t := p.deadline.Load()
	if t == nil || t.IsZero() {
		return 0, false
	}
	return time.Until(*t), true
}

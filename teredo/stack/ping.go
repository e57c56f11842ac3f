package stack

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	// MaxPing is the most data bytes of a Ping: what one packet of the
	// default MTU carries.
	MaxPing = DefaultMTU - ipv6HeaderLen - header.ICMPv6EchoMinimumSize

	pingToken = 8 // random bytes at the front of the data
)

// Ping sends one ICMPv6 echo request with size bytes of data (0 to MaxPing)
// and returns the time until the answer came. It waits until ctx ends.
// An answer counts only if it comes from to and carries the data back; the
// first eight bytes are random, so with size 8 or more nobody can answer
// blindly.
func (s *Stack) Ping(ctx context.Context, to netip.Addr, size int) (time.Duration, error) {
	if !to.Is6() || to.Is4In6() || to.IsMulticast() {
		return 0, fmt.Errorf("stack: ping: %v is not a unicast IPv6 address", to)
	}
	if size < 0 || size > MaxPing {
		return 0, fmt.Errorf("stack: ping: %d data bytes, want 0 to %d", size, MaxPing)
	}
	if err := s.check(); err != nil {
		return 0, err
	}
	if !s.Addr().IsValid() {
		return 0, ErrNoAddress
	}
	c, err := s.dialPing(to)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()

	req := make([]byte, header.ICMPv6EchoMinimumSize+size)
	req[0] = icmpEchoRequest
	binary.BigEndian.PutUint16(req[6:], 1)
	data := req[header.ICMPv6EchoMinimumSize:]
	for i := range data {
		data[i] = byte(i)
	}
	rand.Read(data[:min(size, pingToken)])

	start := time.Now()
	if _, err := c.Write(req); err != nil {
		return 0, pingError(ctx, err)
	}
	buf := make([]byte, len(req)+1)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return 0, pingError(ctx, err)
		}
		// The identifier was matched by the stack, which chose it.
		if n == len(req) && buf[0] == icmpEchoReply && bytes.Equal(buf[6:n], req[6:]) {
			return time.Since(start), nil
		}
	}
}

// dialPing opens an ICMPv6 echo socket connected to one peer.
func (s *Stack) dialPing(to netip.Addr) (*gonet.UDPConn, error) {
	var wq waiter.Queue
	ep, terr := s.s.NewEndpoint(icmp.ProtocolNumber6, ipv6.ProtocolNumber, &wq)
	if terr != nil {
		return nil, fmt.Errorf("stack: ping: %s", terr)
	}
	if terr := ep.Connect(tcpip.FullAddress{Addr: tcpip.AddrFrom16(to.As16())}); terr != nil {
		ep.Close()
		return nil, fmt.Errorf("stack: ping %v: %s", to, terr)
	}
	// gonet's UDPConn is a datagram connection over any endpoint.
	return gonet.NewUDPConn(&wq, ep), nil
}

func pingError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var ne *net.OpError
	if errors.As(err, &ne) {
		err = ne.Err
	}
	return fmt.Errorf("stack: ping: %w", err)
}

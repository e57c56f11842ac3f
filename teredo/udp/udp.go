// Package udp is the IPv4 UDP socket of a Teredo node: batch-shaped, with the
// options that a tunnel needs and the patience that a tunnel needs.
//
//   - Datagrams move in batches on arrays that the caller owns (recvmmsg and
//     sendmmsg on Linux, one at a time elsewhere).
//   - Where Linux can, a run of equal datagrams to one peer crosses the system
//     call and the kernel's stack in one piece (UDP_SEGMENT, UDP_GRO). A kernel
//     or a network card that refuses that once is not asked again.
//   - Path MTU discovery is off, so that a router on the way may fragment the
//     outer packet; with the DF bit that Go's sockets set by default, a path
//     below 1,308 bytes would swallow full-sized inner packets (RFC 4380,
//     5.1.2: "the DF bit SHOULD NOT be set").
//   - ICMP errors are hints, not facts: anybody can forge them. They never
//     end a read loop and never stop a batch in the middle.
//
// On Linux nothing is allocated; elsewhere receiving costs two small
// allocations a datagram, which x/net makes for the source address.
//
// Left out: IPv6, which Teredo does not use outside.
//
//	s, err := udp.Listen(ctx, netip.MustParseAddrPort("0.0.0.0:0"), udp.Config{})
//	pkts := packet.NewBatch(64, packet.DefaultSize)
//	n, err := s.ReadBatch(pkts)
//
// For tests, FromPacketConn makes a Socket of any net.PacketConn.
package udp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"shipworm/teredo/packet"
)

// DefaultReadBuffer is the receive buffer asked of the kernel, in bytes. The
// kernel grants what its own limit allows (net.core.rmem_max), often less.
const DefaultReadBuffer = 4 << 20

// Socket is a UDP socket that moves batches. One goroutine may read while
// another writes; Close may be called by anyone and unblocks both.
type Socket interface {
	// ReadBatch waits for at least one datagram and fills as many packets
	// as are there to be had, each with Addr set, and with Segment where it
	// is a run (only with Config.Runs). It returns an error only when the
	// socket can no longer be read, and then always one that satisfies
	// errors.Is(err, net.ErrClosed) if it was closed.
	ReadBatch(pkts []packet.Packet) (int, error)

	// WriteBatch sends every packet to its Addr, a run as the datagrams that
	// it consists of, and returns how many datagrams the system took. What the
	// system refuses is dropped and counted: a datagram network may lose it
	// anyway. The error is as in ReadBatch.
	WriteBatch(pkts []packet.Packet) (int, error)

	// LocalAddr is the bound address; unspecified if bound to all.
	LocalAddr() netip.AddrPort

	// Stats returns what happened so far.
	Stats() Stats

	// Close closes the socket.
	Close() error
}

// A NowWriter is a Socket that can send without waiting for anybody.
type NowWriter interface {
	// WriteNow sends one datagram, and reports false, with nothing done, if
	// another writer or a full buffer is in the way, or the socket is closed.
	// What the system refuses is dropped and counted.
	WriteNow(p packet.Packet) bool
}

// Stats counts what a socket could not do.
type Stats struct {
	ReadErrors uint64 `json:"read_errors"` // transient errors, mostly ICMP
	WriteDrops uint64 `json:"write_drops"` // datagrams that the system refused
	NotIPv4    uint64 `json:"not_ipv4"`    // datagrams from something that is no IPv4 address
	Truncated  uint64 `json:"truncated"`   // datagrams that were longer than their buffer
	Refusals   uint64 `json:"refusals"`    // runs that the system refused in one piece
}

// Add adds what another socket could not do.
func (s *Stats) Add(o Stats) {
	s.ReadErrors += o.ReadErrors
	s.WriteDrops += o.WriteDrops
	s.NotIPv4 += o.NotIPv4
	s.Truncated += o.Truncated
	s.Refusals += o.Refusals
}

type counters struct{ readErrors, writeDrops, notIPv4, truncated, refusals atomic.Uint64 }

func (c *counters) Stats() Stats {
	return Stats{c.readErrors.Load(), c.writeDrops.Load(), c.notIPv4.Load(), c.truncated.Load(), c.refusals.Load()}
}

// Config tunes a kernel socket. The zero value is the documented default.
type Config struct {
	// ReadBuffer is the receive buffer to ask for, in bytes; zero means
	// DefaultReadBuffer.
	ReadBuffer int

	// Runs lets ReadBatch return runs, where the system knows them; packets
	// read into must then have packet.RunSize bytes of buffer.
	Runs bool

	// Shared lets several sockets have the same address and port; the system
	// spreads the peers over them. Linux only, elsewhere the second fails.
	Shared bool

	// Busy is for a socket that seldom waits and sends one datagram for each
	// that it receives, as a server's. Between a datagram and the next
	// nothing watches such a socket; to fall asleep and wake up takes a
	// microsecond longer. Linux only, elsewhere without effect.
	Busy bool

	// Plain switches off everything but one datagram a message: for systems
	// that do it wrong, and for tests.
	Plain bool
}

// Listen opens a kernel socket on local, an IPv4 address (unspecified for
// all) and port (zero for one that the kernel picks).
func Listen(ctx context.Context, local netip.AddrPort, c Config) (Socket, error) {
	pc, err := ListenPacket(ctx, local, c)
	if err != nil {
		return nil, err
	}
	return newSocket(pc, c), nil
}

// ListenPacket opens the same socket as Listen, for callers that want a plain
// net.PacketConn.
func ListenPacket(ctx context.Context, local netip.AddrPort, c Config) (*net.UDPConn, error) {
	if !local.Addr().Is4() {
		return nil, fmt.Errorf("udp: %v is not an IPv4 address", local.Addr())
	}
	lc := net.ListenConfig{Control: c.control}
	pc, err := lc.ListenPacket(ctx, "udp4", local.String())
	if err != nil {
		return nil, err
	}
	size := c.ReadBuffer
	if size == 0 {
		size = DefaultReadBuffer
	}
	conn := pc.(*net.UDPConn)
	// The kernel clamps silently; an error here would be a closed socket,
	// which the first read reports.
	_ = conn.SetReadBuffer(size)
	forceReadBuffer(conn, size)
	return conn, nil
}

// From makes a Socket of pc: batch calls for a kernel socket, one datagram at
// a time for anything else. The Socket owns pc from now on.
func From(pc net.PacketConn, c Config) Socket {
	if conn, ok := pc.(*net.UDPConn); ok {
		return newSocket(conn, c)
	}
	return FromPacketConn(pc)
}

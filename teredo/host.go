package teredo

import (
	"context"
	"net"
	"net/netip"
	"time"

	"shipworm/teredo/stack"
)

// qualifiedHost waits for an address and returns the host that has it.
func (c *Client) qualifiedHost(ctx context.Context) (*stack.Stack, error) {
	if _, err := c.WaitQualified(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ended:
		return nil, net.ErrClosed
	case c.host == nil:
		return nil, ErrNoHost
	}
	return c.host, nil
}

// ListenPacket waits for a Teredo address and opens a UDP port on it, to
// everybody; zero picks a random one from 49152 to 65535.
//
// The socket survives a change of the Teredo address: it then receives on the
// new one and sends from it, and LocalAddr names it. Between two addresses
// what is written is dropped. Peers notice the change as one of the sender's
// address, as QUIC's connection migration expects.
func (c *Client) ListenPacket(ctx context.Context, port uint16) (net.PacketConn, error) {
	h, err := c.qualifiedHost(ctx)
	if err != nil {
		return nil, err
	}
	pc, err := h.ListenPacket(port)
	if err != nil {
		return nil, err // not a nil *stack.PacketConn in an interface
	}
	return pc, nil
}

// Listen waits for a Teredo address and opens a TCP port on it, to everybody;
// zero picks a random one. The listener survives a change of the address, the
// connections do not.
func (c *Client) Listen(ctx context.Context, port uint16) (net.Listener, error) {
	h, err := c.qualifiedHost(ctx)
	if err != nil {
		return nil, err
	}
	return h.Listen(port)
}

// DialContext waits for a Teredo address and connects from it to an IPv6
// literal and port, over "tcp", "tcp6", "udp" or "udp6". The connection ends
// if the Teredo address changes.
func (c *Client) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	h, err := c.qualifiedHost(ctx)
	if err != nil {
		return nil, err
	}
	return h.DialContext(ctx, network, address)
}

// Ping waits for a Teredo address, sends one ICMPv6 echo request with size
// bytes of data (0 to 1,232) and returns the time until its answer. The first
// one to a peer includes the time to open both NATs. Give ctx a deadline:
// silence is no error.
func (c *Client) Ping(ctx context.Context, to netip.Addr, size int) (time.Duration, error) {
	h, err := c.qualifiedHost(ctx)
	if err != nil {
		return 0, err
	}
	return h.Ping(ctx, to, size)
}

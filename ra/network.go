package ra

import (
	"context"
	"net"
	"net/netip"

	"shipworm/ra/invite"
	"shipworm/ra/rfb"
	"shipworm/ra/screen"
)

// An Endpoint is a UDP socket at which the User waits for the Helper.
type Endpoint struct {
	Kind string // of the candidate, as of package invite
	// Addr is where the Helper's packets go. It is not the socket's own address
	// where a NAT stands before that.
	Addr netip.AddrPort
	Conn net.PacketConn
}

// A Network opens sockets to dial from: Teredo's userspace stack, or the
// kernel.
type Network interface {
	// Kind is invite.Teredo for one that dials candidates of that kind; any
	// other dials the rest.
	Kind() string
	// ListenPacket opens a UDP socket at a port of its choice. It may wait
	// until there is an address. The caller closes the socket.
	ListenPacket(ctx context.Context) (net.PacketConn, error)
}

// dials reports whether a network is for candidates of a kind.
func dials(n Network, kind string) bool {
	return (n.Kind() == invite.Teredo) == (kind == invite.Teredo)
}

// An Injector performs input on the User's desktop. Its methods are called by
// one goroutine at a time.
type Injector interface {
	// Inject performs one event, or refuses it.
	Inject(rfb.Input) error
	// ReleaseAll lets go of every key and button that Inject holds down.
	ReleaseAll() error
}

// An EscWatcher sees the User's own keyboard.
type EscWatcher interface {
	// Watch calls pressed at every physical press of Esc, within 50 ms
	// until ctx ends or it cannot watch any longer.
	Watch(ctx context.Context, pressed func()) error
}

// Screen is what the User shares; see package screen.
type Screen = screen.Source

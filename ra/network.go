package ra

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"

	"shipworm/ra/screen"

	"shipworm/ra/rfb"
)

// Ports of the User's side: the dynamic range, as at the source.
const (
	minPort = 49152
	maxPort = 65535
)

// portTries is how many random ports are tried before giving up: with half of
// the range taken, one start in a million fails.
const portTries = 20

// A Network carries datagrams between the two sides: Teredo's userspace stack,
// or sockets of the kernel.
type Network interface {
	// Kind is the kind of candidate it listens at and dials: "teredo",
	// "ipv6" or "lan".
	Kind() string
	// Addr is the address under which the other side reaches this one.
	Addr() netip.Addr
	// ListenPacket opens a UDP socket; port 0 picks one. The caller closes it.
	ListenPacket(ctx context.Context, port uint16) (net.PacketConn, error)
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

// listen opens a socket at a random port of the dynamic range.
func listen(ctx context.Context, n Network) (pc net.PacketConn, err error) {
	for range portTries {
		port := minPort + rand.IntN(maxPort-minPort+1)
		if pc, err = n.ListenPacket(ctx, uint16(port)); err == nil || !errors.Is(err, syscall.EADDRINUSE) {
			return pc, err
		}
	}
	return nil, err
}

func portOf(a net.Addr) uint16 {
	if u, ok := a.(*net.UDPAddr); ok {
		return u.AddrPort().Port()
	}
	ap, _ := netip.ParseAddrPort(a.String())
	return ap.Port()
}

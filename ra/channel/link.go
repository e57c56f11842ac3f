package channel

import (
	"net"
	"net/netip"
	"sync"

	"github.com/quic-go/quic-go"
)

// A link is QUIC on one socket, shared by a listener and the connections that
// came from it. It ends when all of them have let go.
type link struct {
	knock     *knock
	transport *quic.Transport

	mu   sync.Mutex
	refs int
}

func newLink(k *knock) *link {
	return &link{
		knock: k,
		refs:  1,
		transport: &quic.Transport{
			Conn:                             k,
			ConnectionIDLength:               8,
			DisableVersionNegotiationPackets: true,
		},
	}
}

func (l *link) retain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refs++
}

// release lets go; the last one waits until the socket is not read any more.
func (l *link) release() {
	l.mu.Lock()
	l.refs--
	last := l.refs == 0
	l.mu.Unlock()
	if last {
		_ = l.transport.Close()
	}
}

func (l *link) established() { l.knock.established.Store(true) }

// addrPort converts what packet conns speak into what the rest of us speaks.
func addrPort(a net.Addr) netip.AddrPort {
	if u, ok := a.(*net.UDPAddr); ok {
		ap := u.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	ap, _ := netip.ParseAddrPort(a.String())
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

//go:build !unix

package upnp

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

// ListenGroup implements Host. Windows binds no socket to a group alone.
func (system) ListenGroup(context.Context, Gateway, netip.AddrPort) (net.PacketConn, error) {
	return nil, errors.ErrUnsupported
}

//go:build !linux

package upnp

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
)

// bindExcludes is false: Windows shares a port between a socket of one address
// and one of all addresses.
const bindExcludes = false

// Gateway implements Host.
func (system) Gateway(netip.Addr) (Gateway, error) {
	return Gateway{}, fmt.Errorf("%w: finding it is not implemented on %s: %w", ErrNoGateway, runtime.GOOS, errors.ErrUnsupported)
}

//go:build !linux

package teredo

import (
	"errors"
	"fmt"

	"shipworm/teredo/wire"
)

type nativeSocket struct{}

func openNative() (*nativeSocket, error) {
	return nil, fmt.Errorf("open a raw IPv6 socket: %w", errors.ErrUnsupported)
}

func (*nativeSocket) send(wire.Packet) error { return nil }
func (*nativeSocket) close()                 {}

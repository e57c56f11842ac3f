package natprobe

import (
	"errors"
	"syscall"
)

// refused reports whether a TCP connection failed because the host said so.
func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.Errno(10061)) // WSAECONNREFUSED
}

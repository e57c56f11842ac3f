//go:build unix

package sessionlog

import (
	"os"

	"golang.org/x/sys/unix"
)

// lock marks the file as held by a living session, until it is closed or its
// process is gone. It reports whether nobody else held it.
func lock(f *os.File) bool {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

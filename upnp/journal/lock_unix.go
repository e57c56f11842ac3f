//go:build unix

package journal

import (
	"os"

	"golang.org/x/sys/unix"
)

const supported = true

// lock marks the file as held by a living process, until it is closed or the
// process is gone. It reports whether nobody else held it.
func lock(f *os.File) bool {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

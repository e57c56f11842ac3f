package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// keepMemoryPrivate keeps passwords and keys out of core dumps and from other
// programs of the same user that would read this one's memory.
func keepMemoryPrivate() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbidding core dumps: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbidding core dumps: %w", err)
	}
	return nil
}

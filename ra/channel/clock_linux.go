package channel

import (
	"time"

	"golang.org/x/sys/unix"
)

// sinceBoot returns a clock that nobody can set and that, unlike Go's
// monotonic clock, runs on while the machine sleeps: an invitation does not
// outlive its date in a closed laptop.
func sinceBoot() func() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return sinceNow()
	}
	return func() time.Duration {
		var ts unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // it worked a moment ago
		return time.Duration(ts.Nano())
	}
}

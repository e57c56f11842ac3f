package channel

import "time"

// sinceNow returns a clock that shows the time since this call, by Go's
// monotonic clock: nobody can set it.
func sinceNow() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}

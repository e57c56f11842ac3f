//go:build !linux

package teredo

import "time"

// systemClock is the wall clock, which also counts sleep. A step of it is
// taken for a sleep, which costs one needless solicitation.
func systemClock() time.Duration { return time.Duration(time.Now().UnixNano()) }

//go:build !linux

package channel

import "time"

// sinceBoot returns a clock that nobody can set. It may stand still while the
// machine sleeps.
func sinceBoot() func() time.Duration { return sinceNow() }

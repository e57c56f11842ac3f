//go:build !race

package engine_test

// slow says that the race detector is on.
const slow = false

//go:build race

package engine_test

// slow says that the race detector slows each step down tenfold: the long
// counts, which race nothing, are cut to a tenth.
const slow = true

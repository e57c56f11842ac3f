//go:build lab

package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"

	"shipworm/testnet/lab"
)

const labEnabled = true

// inLab names the test that is to run inside the namespaces, in a run of this
// binary of its own: the scripts want none around them.
const inLab = "SHIPWORM_TEST_IN_LAB"

// beforeTests enters the namespaces if it should. Tests of whole processes wait
// more than they work: more of them run at once than there are processors, but
// not so many that a program is late for what it promises.
func beforeTests() (code int, done bool) {
	if os.Getenv(inLab) != "" {
		inside, code, err := lab.Enter()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return max(code, 1), true
		}
		if !inside {
			return code, true
		}
	}
	if err := flag.Set("test.parallel", fmt.Sprint(4*runtime.GOMAXPROCS(0))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	return 0, false
}

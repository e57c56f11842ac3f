package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/term"
)

// sayIfSlow says on a terminal what takes long, if it takes more than a second.
// The caller calls the function that it returns at the end of that.
func sayIfSlow(what string) (over func() bool) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return func() bool { return false }
	}
	return time.AfterFunc(time.Second, func() { fmt.Fprintln(os.Stderr, what+" ...") }).Stop
}

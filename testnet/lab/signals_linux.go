package lab

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A terminal gives its SIGINT to every process of the foreground group: the
// outer process, the init and the program have each seen it already, and a
// second one would read as "now, at once". A SIGINT from elsewhere reaches the
// outer process only. The two cannot be told apart in Go, so with a terminal
// the outer process waits this long before it passes its own on; the program
// has usually ended by then.
const terminalGrace = 1500 * time.Millisecond

// forwardSignals passes what the outer process gets to the init stage. The init
// cannot tell a terminal's SIGINT from a forwarded one either, therefore the
// latter travels as SIGUSR1.
func forwardSignals(init *os.Process, signals <-chan os.Signal, ended <-chan struct{}) {
	var late <-chan time.Time
	for {
		select {
		case <-ended:
			return
		case <-late:
			late = nil
			_ = init.Signal(syscall.SIGUSR1)
		case s := <-signals:
			switch {
			case s != syscall.SIGINT:
				_ = init.Signal(syscall.SIGTERM)
			case !foreground():
				_ = init.Signal(syscall.SIGUSR1)
			case late == nil:
				late = time.After(terminalGrace)
			}
		}
	}
}

// foreground reports whether a Ctrl-C would reach this process.
func foreground() bool {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// keepTerminal returns a function that makes this process's group the
// terminal's foreground again. A shell that ran inside a PID namespace cannot
// do it: the group that it found has no number there.
func keepTerminal() (restore func()) {
	if !foreground() {
		return func() {}
	}
	return func() {
		tty, err := os.OpenFile("/dev/tty", os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			return
		}
		defer tty.Close()
		// A background process that sets the foreground group is stopped
		// unless it ignores SIGTTOU.
		signal.Ignore(syscall.SIGTTOU)
		defer signal.Reset(syscall.SIGTTOU)
		_ = unix.IoctlSetPointerInt(int(tty.Fd()), unix.TIOCSPGRP, unix.Getpgrp())
	}
}

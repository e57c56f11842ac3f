//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"shipworm/internal/confine"
)

// watchEnv tells the process that is watched which descriptor is the socket
// between the two. A byte from the watcher, or its end, means that the command
// is to end, a second byte that it is to end at once; what comes back is the
// text of a crash. The descriptor has the number that it has here, because 3 and
// on may be the user's (--password-fd).
const watchEnv = "SHIPWORM_WATCHED"

// abortTime is how long a command that hangs has to show where.
const abortTime = time.Second

// watch runs a watched command and returns its exit code; ok is false if this
// process is to run the command itself.
func (p *program) watch(args []string) (code int, ok bool) {
	if os.Getenv(watchEnv) != "" {
		return 0, false
	}
	c, rest, err := p.root.Find(args)
	if err != nil {
		return 0, false
	}
	if _, watched := c.Annotations[watchKey]; !watched || c.ParseFlags(rest) != nil {
		return 0, false
	}
	if c.PreRunE != nil && c.PreRunE(c, rest) != nil { // reads the configuration
		return 0, false
	}
	if tunnel := tunnelOf(c); tunnel.checkUser() != nil {
		return 0, false // it will say so itself
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGABRT)
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	child, near, err := startWatched(args)
	if err != nil {
		signal.Stop(signals)
		return 0, false // without a watcher it works as well
	}
	undo := p.prepareUndo(c)
	if err := confine.DropCapabilities(becomesUser(c)); err != nil {
		fmt.Fprintf(os.Stderr, "shipworm: %v\n", err)
		near.Close()
		_ = child.Wait()
		return exitFailure, true
	}
	crash := make(chan bool)
	go func() {
		n, _ := io.Copy(io.Discard, near)
		crash <- n > 0
	}()
	go func() {
		asked := false
		for s := range signals {
			if s == syscall.SIGABRT { // a service manager that heard nothing for too long
				_ = child.Process.Signal(s) // it shows where it hangs, if it can
				time.AfterFunc(abortTime, func() { _ = child.Process.Kill() })
				continue
			}
			// The kernel sends one SIGHUP, and the shell another.
			if !asked || s != syscall.SIGHUP {
				_, _ = near.Write([]byte{1})
			}
			asked = true
		}
	}()
	_ = child.Wait()     // the state says it all
	signal.Stop(signals) // from here on a signal ends us
	text := <-crash
	near.Close()
	code, end := judge(child.ProcessState.Sys().(syscall.WaitStatus), text)
	if end == inOrder {
		return code, true
	}
	err = undoAll(undo)
	switch {
	case err == nil && end == killed:
		fmt.Fprintln(os.Stderr, "shipworm: it was killed; what it held was given back")
	case err == nil && end == crashed:
		fmt.Fprintln(os.Stderr, "shipworm: it ended by a fault of its own; what it held was given back")
	case err != nil:
		fmt.Fprintf(os.Stderr, "shipworm: not all that it held was given back: %v\n", oneLine(err))
	}
	return code, true
}

// ending is how a process ended.
type ending int

const (
	inOrder ending = iota
	forced         // a person would not wait
	killed         // by whom cannot be told
	crashed
)

// judge tells a crash, whose text was seen or whose signal no person sends, and
// returns the exit code. A signal that people send has a shell's code for it.
func judge(st syscall.WaitStatus, text bool) (code int, end ending) {
	switch {
	case st.Exited() && !text && st.ExitStatus() != exitCrashed:
		return st.ExitStatus(), inOrder
	case st.Signaled():
		switch s := st.Signal(); s {
		case syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE:
			return 128 + int(s), forced
		case syscall.SIGKILL:
			return exitCrashed, killed
		}
	}
	return exitCrashed, crashed
}

// startWatched starts this program again with the same arguments, and returns
// our end of the socket to it.
func startWatched(args []string) (*exec.Cmd, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, err
	}
	defer unix.Close(fds[1])
	unix.CloseOnExec(fds[0])
	_ = unix.SetNonblock(fds[0], true)
	near := os.NewFile(uintptr(fds[0]), "watched")
	self := "/proc/self/exe"
	if runtime.GOOS != "linux" {
		if self, err = os.Executable(); err != nil {
			near.Close()
			return nil, nil, err
		}
	}
	cmd := exec.Command(self, args...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), watchEnv+"="+strconv.Itoa(fds[1]))
	if err := cmd.Start(); err != nil {
		near.Close()
		return nil, nil, err
	}
	return cmd, near, nil
}

// nameProcess gives a process that was started by way of /proc/self/exe the
// name that it would have otherwise: ps, top and ss show it.
func nameProcess() {
	if runtime.GOOS == "linux" {
		_ = os.WriteFile("/proc/self/comm", []byte(filepath.Base(os.Args[0])), 0)
	}
}

// obeyWatcher returns a context that ends when the watcher says so, if there is
// one, and has it told of a crash. Only the watcher then ends us at once.
func obeyWatcher(ctx context.Context) (_ context.Context, watched bool, _ context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	fd, err := strconv.Atoi(os.Getenv(watchEnv))
	if err != nil {
		return ctx, false, cancel
	}
	os.Unsetenv(watchEnv) // what we start is not watched by it
	// The service manager means us, whatever process it started.
	os.Unsetenv("WATCHDOG_PID")
	unix.CloseOnExec(fd)
	_ = unix.SetNonblock(fd, true)
	far := os.NewFile(uintptr(fd), "watcher")
	if far == nil || debug.SetCrashOutput(far, debug.CrashOptions{}) != nil {
		return ctx, false, cancel
	}
	go func() {
		b := make([]byte, 1)
		_, err := far.Read(b)
		cancel()
		if err != nil { // the watcher is gone
			signal.Reset(os.Interrupt, syscall.SIGTERM)
			return
		}
		if n, _ := far.Read(b); n > 0 {
			signal.Reset(os.Interrupt)
			_ = syscall.Kill(os.Getpid(), syscall.SIGINT)
		}
	}()
	return ctx, true, cancel
}

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const threadNetns = "/proc/thread-self/ns/net"

// A netns is a network namespace: a machine of the benchmark.
type netns struct {
	name string
	file *os.File // keeps it alive
}

func newNetns(name string) (*netns, error) {
	ns := &netns{name: name}
	err := onThread(func() (err error) {
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			ns.file, err = os.Open(threadNetns)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("network namespace %s: %w", name, err)
	}
	return ns, nil
}

// path names the namespace for other programs.
func (ns *netns) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.file.Fd()) }

// onThread runs f on a thread that ends with it, because f changes the
// thread's namespace.
func onThread(f func() error) error {
	err := errors.New("the function ended its goroutine")
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		err = f()
	}()
	<-done
	return err
}

// start starts a program in the namespace. It ends with ctx.
func (ns *netns) start(c *exec.Cmd) error {
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = time.Second
	return onThread(func() error {
		if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return c.Start()
	})
}

// runWithin bounds a program that changes or tells the state of a namespace.
const runWithin = 10 * time.Second

// run runs a program in the namespace and returns what it printed.
func (ns *netns) run(ctx context.Context, argv ...string) (string, error) {
	return ns.output(ctx, nil, argv...)
}

// output is run with an environment; nil is this process's.
func (ns *netns) output(ctx context.Context, env []string, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, runWithin, fmt.Errorf("not done within %v", runWithin))
	defer cancel()
	var out strings.Builder
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.Env, c.Stdout, c.Stderr = env, &out, &out
	err := ns.start(c)
	if err == nil {
		err = c.Wait()
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err != nil {
		text := strings.TrimSpace(out.String())
		return text, fmt.Errorf("%s: %s: %w: %s", ns.name, strings.Join(c.Args, " "), err, text)
	}
	return out.String(), nil
}

// shell runs lines of shell, up to the first that fails.
func (ns *netns) shell(ctx context.Context, format string, args ...any) error {
	_, err := ns.run(ctx, "sh", "-ec", fmt.Sprintf(format, args...))
	return err
}

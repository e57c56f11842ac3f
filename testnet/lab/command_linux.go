package lab

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// killDelay is the time between the request to end and the end.
const killDelay = time.Second

// A Cmd is an [exec.Cmd] that starts in a host's network namespace. Its fields
// are set as usual before Start, and system attributes may be added to
// SysProcAttr, except Pdeathsig: it is tied to a thread that soon ends.
type Cmd struct {
	*exec.Cmd
	host   *Host
	ctx    context.Context
	cancel context.CancelFunc
}

// Command returns a program to run on the host. The program gets a process
// group of its own. When ctx is done or the laboratory is closed, its group is
// sent SIGTERM, and one second later SIGKILL.
func (h *Host) Command(ctx context.Context, name string, args ...string) *Cmd {
	ctx, cancel := context.WithCancel(ctx)
	release := context.AfterFunc(h.lab.ctx, cancel)
	c := &Cmd{Cmd: exec.CommandContext(ctx, name, args...), host: h, ctx: ctx}
	c.cancel = func() { release(); cancel() }
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.WaitDelay = killDelay
	c.Cancel = func() error { return c.signal(syscall.SIGTERM) }
	return c
}

// signal reaches the program and, where it leads a group, all of the group.
func (c *Cmd) signal(s syscall.Signal) error {
	if c.SysProcAttr == nil || !c.SysProcAttr.Setpgid || c.SysProcAttr.Pgid != 0 {
		return c.Process.Signal(s)
	}
	err := syscall.Kill(-c.Process.Pid, s)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// Start starts the program and does not wait for it. Wait must follow.
func (c *Cmd) Start() error {
	c.Env = withoutMarker(c.Environ())
	err := c.host.ns.do(c.Cmd.Start)
	if err != nil {
		c.cancel()
		return err
	}
	c.host.lab.mu.Lock()
	c.host.lab.groups[c.Process.Pid] = true
	c.host.lab.mu.Unlock()
	return nil
}

// Wait waits for the program to end. If it was told to, the rest of its group
// ends too.
func (c *Cmd) Wait() error {
	if c.Process == nil || c.ProcessState != nil {
		return c.Cmd.Wait() // it knows what is wrong
	}
	err := c.Cmd.Wait()
	if c.ctx.Err() != nil {
		_ = c.signal(syscall.SIGKILL)
	}
	c.cancel()
	c.host.lab.mu.Lock()
	delete(c.host.lab.groups, c.Process.Pid)
	c.host.lab.mu.Unlock()
	return err
}

// Run starts the program and waits for it.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the program and returns its standard output. As with exec.Cmd,
// an [exec.ExitError] carries standard error if it was not taken elsewhere.
func (c *Cmd) Output() ([]byte, error) {
	var out, errs bytes.Buffer
	c.Stdout = &out
	capture := c.Stderr == nil
	if capture {
		c.Stderr = &errs
	}
	err := c.Run()
	var exit *exec.ExitError
	if capture && errors.As(err, &exit) {
		exit.Stderr = errs.Bytes()
	}
	return out.Bytes(), err
}

// CombinedOutput runs the program and returns its standard output and error.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}

package lab

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// runInit is process 1 of the laboratory: it prepares the mounts, starts the
// program a last time and collects every orphan. When it returns, the kernel
// ends whatever still runs. rest is of the marker.
func runInit(rest string) (int, error) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1)
	if err := prepareMounts(); err != nil {
		return 1, err
	}
	if err := loopbackUp(); err != nil {
		return 1, &NamespaceError{"bringing up the loopback interface", err}
	}
	env := append(withoutMarker(os.Environ()), marker+"=main:"+rest)
	pid, err := syscall.ForkExec("/proc/self/exe", os.Args, &syscall.ProcAttr{
		Env:   env,
		Files: []uintptr{0, 1, 2},
	})
	if err != nil {
		return 1, &NamespaceError{"starting the program again", err}
	}
	go func() {
		for s := range signals {
			switch s {
			case syscall.SIGUSR1:
				_ = syscall.Kill(pid, syscall.SIGINT)
			case syscall.SIGTERM:
				_ = syscall.Kill(pid, syscall.SIGTERM)
			}
		}
	}()
	return reap(pid)
}

// reap waits for all children, adopted ones included, until main has ended.
func reap(main int) (int, error) {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 1, &NamespaceError{"waiting for the program", err}
		case pid == main:
			return waitCode(ws), nil
		}
	}
}

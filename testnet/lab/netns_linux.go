package lab

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

const threadNetns = "/proc/thread-self/ns/net"

// A namespace is a network namespace kept alive by an open file.
type namespace struct {
	file *os.File
	id   string // inode, see netnsID
}

func newNamespace() (*namespace, error) {
	var ns *namespace
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return &NamespaceError{"creating a network namespace", err}
		}
		id, err := netnsID(threadNetns)
		if err != nil {
			return &NamespaceError{"opening a network namespace", err}
		}
		file, err := os.Open(threadNetns)
		if err != nil {
			return &NamespaceError{"opening a network namespace", err}
		}
		ns = &namespace{file: file, id: id}
		return nil
	})
	return ns, err
}

// do runs f in the namespace and returns its error. Only f's own goroutine is
// there: what f starts with go is not.
func (ns *namespace) do(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return &NamespaceError{"entering a network namespace", err}
		}
		return f()
	})
}

var errExited = errors.New("lab: the function ended its goroutine")

// onThread runs f on a goroutine and thread of its own, because f changes the
// namespace of its thread. The thread is used again only when it is back where
// it came from; otherwise it ends with the goroutine.
func onThread(f func() error) error {
	err := errExited
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		home, e := os.Open(threadNetns)
		if e != nil {
			err = fmt.Errorf("lab: %w", e)
			runtime.UnlockOSThread()
			return
		}
		defer func() {
			if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
				runtime.UnlockOSThread()
			}
			home.Close()
		}()
		err = f()
	}()
	<-done
	return err
}

package nic

import (
	"errors"
	"os"
	"syscall"

	"github.com/songgao/water"
	"golang.org/x/sys/unix"
)

func open(cfg water.Config, name string) (*water.Interface, error) {
	cfg.Name = name
	// water opens the device without O_CLOEXEC. The lock keeps a program from
	// being started, and from inheriting it, before the flag is set.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	dev, err := water.New(cfg)
	if err != nil {
		return nil, err
	}
	raw, err := dev.ReadWriteCloser.(*os.File).SyscallConn()
	if err == nil {
		err = errors.Join(raw.Control(func(fd uintptr) { unix.CloseOnExec(int(fd)) }))
	}
	if err != nil {
		dev.Close()
		return nil, err
	}
	return dev, nil
}

// ReadMany waits for packets and reads as many as there are into bufs, whose
// lengths it sets in sizes; both have the same length, at least one. It takes
// no more than one wake-up for all of them.
func (t *TUN) ReadMany(bufs [][]byte, sizes []int) (n int, err error) {
	raw, err := t.ReadWriteCloser.(*os.File).SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		for n < len(bufs) {
			size, err := unix.Read(int(fd), bufs[n])
			switch {
			case err == unix.EINTR:
				continue
			case err == unix.EAGAIN:
				return n > 0
			case err != nil:
				failed = os.NewSyscallError("read", err)
				return true
			}
			sizes[n] = size
			n++
		}
		return true
	})
	if err == nil && n == 0 {
		err = failed
	}
	return n, err
}

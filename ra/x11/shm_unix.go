//go:build linux || darwin

package x11

import (
	"github.com/jezek/xgb/shm"
	"golang.org/x/sys/unix"
)

// A segment is System V shared memory that the X server has attached too.
type segment struct {
	id  shm.Seg
	mem []byte
	c   *conn
}

// newSegment returns nil where server and program cannot share memory: that is
// an ordinary state (a remote display), not a failure.
func newSegment(c *conn, size int) *segment {
	registry.Lock()
	err := c.extension("MIT-SHM")
	registry.Unlock()
	if err != nil {
		return nil
	}
	key, err := unix.SysvShmGet(unix.IPC_PRIVATE, size, unix.IPC_CREAT|0o600)
	if err != nil {
		return nil
	}
	// Marked for removal whatever happens: the kernel frees the segment when
	// the last of the two processes lets go, even after a crash.
	defer unix.SysvShmCtl(key, unix.IPC_RMID, nil)
	mem, err := unix.SysvShmAttach(key, 0, 0)
	if err != nil {
		return nil
	}
	id, err := shm.NewSegId(c.Conn)
	if err == nil {
		err = shm.AttachChecked(c.Conn, id, uint32(key), false).Check()
	}
	if err != nil {
		_ = unix.SysvShmDetach(mem)
		return nil
	}
	return &segment{id: id, mem: mem, c: c}
}

// close detaches both sides. The server lets go by itself when the connection
// has ended already.
func (s *segment) close() {
	shm.Detach(s.c.Conn, s.id)
	_ = unix.SysvShmDetach(s.mem)
	s.mem = nil
}

package sim_test

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// L-01: a world with open sockets and traffic opens no socket of the kernel.
func TestNoRealSocket(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts sockets in /proc/self/fd, which only Linux has")
	}
	count := func() (n int) {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range fds {
			if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(to, "socket:") {
				n++
			}
		}
		return n
	}
	before := count()
	_, a, b := pair(t)
	a.WriteTo([]byte("x"), b.LocalAddr())
	b.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, _, err := b.ReadFrom(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if after := count(); after != before {
		t.Errorf("%d sockets before, %d with a world running", before, after)
	}
}

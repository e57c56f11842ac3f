package main

import (
	"io"
	"testing"

	"golang.org/x/sys/unix"
)

// the commands that know a password cannot be dumped.
func TestMemoryIsPrivate(t *testing.T) {
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &before); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Setrlimit(unix.RLIMIT_CORE, &before) // fails unless privileged: only core dumps of the tests are lost
		unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	})
	root := newRoot(systemConfig)
	root.SetArgs([]string{"ra", "inspect", "testdata/none"})
	root.SetOut(io.Discard)
	if err := root.Execute(); err == nil {
		t.Error("a missing file was inspected")
	}
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &now); err != nil || now.Cur != 0 || now.Max != 0 {
		t.Errorf("core dumps of %v bytes, %v", now, err)
	}
	if n, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || n != 0 {
		t.Errorf("dumpable %d, %v", n, err)
	}
}

//go:build linux && !lab

package lab

import (
	"errors"
	"os"
	"slices"
	"testing"
)

// There is nothing to join in a process that opened no laboratory, whatever
// its environment claims.
func TestJoinNothing(t *testing.T) {
	t.Setenv(marker, "main:1:4711")
	for _, id := range []int{-1, 0, os.Getpid(), 1 << 30} {
		if err := Join(id, "server", "true"); !errors.Is(err, ErrNoLab) {
			t.Errorf("%d: %v, want %v", id, err, ErrNoLab)
		}
	}
	if id := ID(); id != 0 {
		t.Errorf("ID %d, want 0", id)
	}
}

func TestFindHost(t *testing.T) {
	const file = "127.0.0.1\tlocalhost\n192.168.7.7\tprinter\t# fd/3\n" + hostsBegin +
		"203.0.113.1\tserver\t# fd/9\n192.168.1.2\talice\t# fd/10\ndamaged\n" + hostsEnd + "192.168.7.8\tscanner\t# fd/4\n"
	if fd, err := findHost([]byte(file), "alice"); fd != "fd/10" || err != nil {
		t.Errorf("%q and %v, want fd/10", fd, err)
	}
	for _, name := range []string{"printer", "scanner", "localhost", ""} {
		_, err := findHost([]byte(file), name)
		var unknown *HostError
		if !errors.As(err, &unknown) || !slices.Equal(unknown.Hosts, []string{"server", "alice"}) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

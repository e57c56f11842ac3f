package lab

import (
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"shipworm/testnet/invariant"
)

// Close ends every program in the laboratory, those that made themselves
// daemons too, and takes it down. Programs get SIGTERM and a second to obey.
// It may be called more than once. Its error says that the network broke an
// invariant (testnet/invariant).
func (l *Lab) Close() error { return l.close() }

// CloseAfter closes the laboratory at the end of a test, which fails if the
// network broke an invariant.
func (l *Lab) CloseAfter(t invariant.TB) {
	t.Cleanup(func() {
		t.Helper()
		if err := l.Close(); err != nil {
			t.Errorf("laboratory: %v", err)
		}
	})
}

func (l *Lab) shutdown() error {
	l.cancel()  // every Cmd sends SIGTERM to its group
	l.mu.Lock() // no host or server is added from now on
	hosts := l.hosts
	told := maps.Clone(l.groups)
	l.mu.Unlock()
	ours := map[string]bool{}
	for _, h := range hosts {
		ours[h.ns.id] = true
	}
	// The programs may be daemons of daemons, so they are known by where they
	// are, not by who started them.
	for deadline := time.Now().Add(killDelay); ; time.Sleep(5 * time.Millisecond) {
		left := inside(ours)
		if len(left) == 0 {
			break
		}
		for _, pid := range left {
			// A second SIGTERM would mean "at once" to many a program.
			if group, err := syscall.Getpgid(pid); err == nil && !told[group] && !told[pid] {
				told[pid] = true
				_ = syscall.Kill(pid, syscall.SIGTERM)
			}
		}
		if time.Now().After(deadline) {
			for _, pid := range left {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if time.Now().After(deadline.Add(killDelay)) {
			l.log.Error("programs left in the laboratory", "pids", left)
			break
		}
	}
	l.servers.Wait()
	l.hub.stop()
	for _, h := range hosts {
		h.ns.file.Close()
	}
	if err := writeHosts(nil); err != nil {
		l.log.Debug("names of hosts stay", "err", err)
	}
	return l.hub.rules.Err()
}

// inside returns the processes, other than this one, in the given network
// namespaces.
func inside(netns map[string]bool) []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() {
			continue
		}
		if id, err := netnsID(dir + "/ns/net"); err == nil && netns[id] {
			pids = append(pids, pid)
		}
	}
	return pids
}

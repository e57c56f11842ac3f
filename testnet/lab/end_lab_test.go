//go:build lab && linux

package lab_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"shipworm/testnet/link"
)

// machine is what a laboratory must leave as it was.
func machine(t *testing.T) (networks, interfaces, mounts []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if ns, err := os.Readlink(f); err == nil {
			networks = append(networks, ns)
		}
	}
	slices.Sort(networks)
	networks = slices.Compact(networks)
	entries, err := os.ReadDir("/sys/class/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		interfaces = append(interfaces, e.Name())
	}
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	return networks, interfaces, strings.Split(string(table), "\n")
}

// L-01: nothing is left of a laboratory that was killed, not even its daemons.
// The one killed here is nested in this test's own.
func TestKillLeavesNothing(t *testing.T) {
	networks, interfaces, mounts := machine(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.Env = append(os.Environ(), scenario+"=linger")
	cmd.Stderr = os.Stderr
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	waitLine(t, r, "ready")
	for deadline := time.Now().Add(time.Minute); len(running(t, "4711")) < 4; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d programs started, want 4", len(running(t, "4711")))
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("ended without an error")
	}
	waitGone(t, "4711")
	networks2, interfaces2, mounts2 := machine(t)
	left := func() bool {
		return slices.ContainsFunc(networks2, func(n string) bool { return !slices.Contains(networks, n) })
	}
	// A process loses its arguments before its network when it ends.
	for deadline := time.Now().Add(time.Minute); left() && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		networks2, interfaces2, mounts2 = machine(t)
	}
	if left() {
		t.Errorf("network namespaces: %v, were %v", networks2, networks)
	}
	if !slices.Equal(interfaces, interfaces2) {
		t.Errorf("interfaces: %v, were %v", interfaces2, interfaces)
	}
	if !slices.Equal(mounts, mounts2) {
		t.Errorf("mounts: %v, were %v", mounts2, mounts)
	}
}

// Close ends programs that ignore SIGTERM and programs that hide from their
// parent's group.
func TestCloseEndsDaemons(t *testing.T) {
	// They have a second to obey. The best of three: a machine that is busy may
	// be late.
	best := time.Minute
	for try := 0; try < 3 && best > 3*time.Second; try++ {
		best = min(best, closeDaemons(t))
	}
	if best > 3*time.Second {
		t.Errorf("took %v at best", best)
	}
}

func closeDaemons(t *testing.T) (took time.Duration) {
	l, home, _ := newLab(t, "cone", link.Config{})
	stubborn := home.Command(t.Context(), "sh", "-c", "trap '' TERM; sleep 4713 & wait; sleep 4713")
	if err := stubborn.Start(); err != nil {
		t.Fatal(err)
	}
	if err := home.Command(t.Context(), "setsid", "-f", "sleep", "4713").Run(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); len(running(t, "4713")) < 2; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the programs did not start")
		}
	}
	start := time.Now()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	took = time.Since(start)
	if err := stubborn.Wait(); err == nil {
		t.Error("no error from a program that was killed")
	}
	waitGone(t, "4713")
	if err := home.Command(t.Context(), "true").Start(); err == nil {
		t.Error("a program started in a closed laboratory")
	}
	return took
}

// Without root a laboratory works just as well, through a user namespace, and so
// it does for a root that may not do everything, as in a container.
func TestUnprivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this run is unprivileged as a whole")
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("needs setpriv: ", err)
	}
	// The test binary lies in a directory that only its owner may enter, and so
	// may TMPDIR.
	dir, err := os.MkdirTemp("/tmp", "shipworm-lab")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "lab.test")
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(binary, self, 0o700)
	}
	for _, path := range []string{dir, binary} { // whatever the umask
		if err == nil {
			err = os.Chmod(path, 0o755)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range [][]string{
		{"--reuid=65534", "--regid=65534", "--clear-groups"},
		{"--bounding-set=-sys_admin", "--inh-caps=-sys_admin"},
		{"--bounding-set=-net_raw", "--inh-caps=-net_raw"},
	} {
		t.Run(who[0], func(t *testing.T) {
			cmd := exec.Command(setpriv, append(who, binary, "-test.run=^$")...)
			cmd.Env = append(os.Environ(), scenario+"=ping")
			cmd.Dir = "/"
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "1 received") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

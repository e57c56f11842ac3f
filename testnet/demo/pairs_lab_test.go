//go:build lab && linux

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nobody is the user that the unprivileged run becomes.
const nobody = 65534

// programs builds the demo and finds or builds the binary it demonstrates, in
// a folder that every user can reach.
func programs(t *testing.T) (demo, shipworm string) {
	t.Helper()
	dir := publicDir(t, 0o755)
	for name, pkg := range map[string]string{"demo": ".", "shipworm": "shipworm/cmd/shipworm"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, name), pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build %s: %v\n%s", pkg, err, out)
		}
		if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil { // whatever the umask
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "demo"), filepath.Join(dir, "shipworm")
}

// publicDir makes a folder that every user can reach: TMPDIR may be its owner's
// alone.
func publicDir(t *testing.T, mode os.FileMode) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "shipworm-demo")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	return dir
}

func perform(t *testing.T, env []string, as *syscall.Credential, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestPairs plays the main job for every pair of the three cone NATs. Every
// step of a play is observed by the demo itself, or it fails.
func TestPairs(t *testing.T) {
	demo, shipworm := programs(t)
	kinds := []string{"cone", "address-restricted", "port-restricted"}
	for _, a := range kinds {
		for _, b := range kinds {
			t.Run(a+" to "+b, func(t *testing.T) {
				out, err := perform(t, nil, nil, demo, "--shipworm", shipworm, "--nat-a", a, "--nat-b", b, "--out", t.TempDir())
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				if !strings.Contains(out, "\ndone: ") {
					t.Fatalf("the demo ended early without saying why:\n%s", out)
				}
				t.Log("\n" + out)
			})
		}
	}
}

// TestWithoutRoot plays it once as a user without any privilege. C-04
func TestWithoutRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not root: the other plays of this test are unprivileged already")
	}
	demo, shipworm := programs(t)
	dir := publicDir(t, 0o777)
	out, err := perform(t, []string{"HOME=" + dir, "TMPDIR=" + dir}, &syscall.Credential{Uid: nobody, Gid: nobody},
		demo, "--shipworm", shipworm, "--out", filepath.Join(dir, "out"))
	if err != nil || !strings.Contains(out, "\ndone: ") {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestMissingParts: what is not installed is named, all of it at once.
func TestMissingParts(t *testing.T) {
	demo, _ := programs(t)
	out, err := perform(t, []string{"PATH=/nonexistent"}, nil, demo, "--shipworm", "/nonexistent/shipworm", "--nat-a", "moat", "--out", t.TempDir())
	if err == nil {
		t.Fatalf("exit 0 without any part:\n%s", out)
	}
	for _, want := range []string{"xvfb", "xterm", "imagemagick", "chromium", "/nonexistent/shipworm", `"moat"`} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not named:\n%s", want, out)
		}
	}
}

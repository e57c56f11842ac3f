//go:build lab && linux

package lab_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shipworm/testnet/lab"
	"shipworm/testnet/link"
)

// L-01: a laboratory's programs see their own host's interfaces only, and the
// process that owns them has none of the machine's.
func TestHostsAreApart(t *testing.T) {
	_, home, server := newLab(t, "cone", link.Config{})
	for h, want := range map[*lab.Host]string{
		home:   "192.168.1.2/24",
		server: "203.0.113.1/32",
	} {
		out := output(t, h, "ip", "-4", "-o", "address", "show")
		if lines := strings.Count(out, "\n"); !strings.Contains(out, want) || !strings.Contains(out, "127.0.0.1/8") {
			t.Errorf("%s: %d addresses, want %s and loopback:\n%s", h.Name(), lines, want, out)
		}
	}
	out, err := exec.Command("ip", "-o", "link", "show").Output()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), "lo:") {
		t.Errorf("outside the hosts there is more than a loopback interface:\n%s", out)
	}
}

func TestCommandResult(t *testing.T) {
	_, home, _ := newLab(t, "cone", link.Config{})
	tests := []struct {
		name string
		sh   string
		code int
	}{
		{"success", "exit 0", 0},
		{"own code", "exit 7", 7},
		{"killed", "kill -9 $$", -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := home.Command(t.Context(), "sh", "-c", tt.sh)
			err := cmd.Run()
			if got := cmd.ProcessState.ExitCode(); got != tt.code || (err == nil) != (tt.code == 0) {
				t.Errorf("exit code %d and %v, want %d", got, err, tt.code)
			}
		})
	}
	t.Run("not found", func(t *testing.T) {
		err := home.Command(t.Context(), "no-such-program").Run()
		if !errors.Is(err, exec.ErrNotFound) {
			t.Errorf("error %v, want %v", err, exec.ErrNotFound)
		}
	})
	t.Run("streams, directory and environment", func(t *testing.T) {
		dir := t.TempDir()
		cmd := home.Command(t.Context(), "sh", "-c", "cat; pwd; echo $COLOUR; echo warning >&2; env | grep -c SHIPWORM_LAB; exit 0")
		cmd.Stdin = strings.NewReader("in\n")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "COLOUR=blue")
		out, err := cmd.Output()
		if want := "in\n" + dir + "\nblue\n0\n"; err != nil || string(out) != want {
			t.Errorf("output %q and %v, want %q", out, err, want)
		}
	})
}

// A context that ends takes the program and its children with it.
func TestCommandContext(t *testing.T) {
	_, home, _ := newLab(t, "cone", link.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cmd := home.Command(ctx, "sh", "-c", "sleep 4712 & echo started; wait")
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
	waitLine(t, r, "started")
	cancel()
	start := time.Now()
	if err := cmd.Wait(); err == nil {
		t.Error("no error from a program that was ended")
	}
	if d := time.Since(start); d > time.Minute {
		t.Errorf("took %v", d)
	}
	waitGone(t, "4712")
}

// Several programs share a host: a server on its loopback interface that no
// other host reaches, and a client. A file reaches every host.
func TestSharedHost(t *testing.T) {
	_, home, server := newLab(t, "cone", link.Config{})
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "page"), []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	web := home.Command(t.Context(), "python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory", dir, "8000")
	if err := web.Start(); err != nil {
		t.Skip("needs python3: ", err)
	}
	t.Cleanup(func() { _ = web.Wait() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := home.WaitReady(ctx, "tcp", 8000); err != nil {
		t.Fatal(err)
	}
	if got := output(t, home, "curl", "-sS", "http://127.0.0.1:8000/page"); got != "hello" {
		t.Errorf("on the same host: %q", got)
	}
	if err := server.Command(ctx, "curl", "-sS", "http://127.0.0.1:8000/page").Run(); err == nil {
		t.Error("another host reached the loopback interface")
	}
	if got := output(t, server, "cat", filepath.Join(dir, "page")); got != "hello" {
		t.Errorf("on another host: %q", got)
	}
	if got := output(t, home, "nsenter", "--net="+server.Netns(), "ip", "-o", "-4", "addr", "show", "eth0"); !strings.Contains(got, "203.0.113.1") {
		t.Errorf("nsenter by path came to another host:\n%s", got)
	}
}

// waitGone fails the test if a program with that argument still runs after a
// while.
func waitGone(t *testing.T, arg string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for len(running(t, arg)) > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("still running: %v", running(t, arg))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// running returns the processes that have the argument.
func running(t *testing.T, arg string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range files {
		line, _ := os.ReadFile(f)
		for _, a := range strings.Split(string(line), "\x00") {
			if a == arg {
				found = append(found, filepath.Dir(f))
			}
		}
	}
	return found
}

//go:build lab && linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "speed")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// Every path of the table carries something in either kind of load, whatever
// else the machine does meanwhile: how much is not for a test to judge.
func TestEveryPath(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	c := exec.CommandContext(ctx, build(t), "--quick", "--rounds", "1", "--json")
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &errs)
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	for _, m := range r.Missing {
		t.Log("left out: ", m)
	}
	measured := map[series]bool{}
	for _, x := range r.Rows {
		measured[series{x.Test, x.Path}] = true
		if throughput := strings.HasPrefix(x.Test, "tcp") || strings.HasPrefix(x.Test, "server"); throughput && x.Max <= 0 {
			t.Errorf("%s: %s: nothing arrived", x.Test, x.Path)
		}
	}
	for _, path := range []string{nameTUN, nameStack, nameTUNStack, nameStackTUN, nameRelayOut, nameRelayIn, nameTUNPlain, nameStackPlain, nameNaive, nameVXLAN, nameLine} {
		for _, test := range []string{"tcp1", "tcp4", "udp", "ping-p50"} {
			if !measured[series{test, path}] {
				t.Errorf("%s: %s: no row", test, path)
			}
		}
	}
}

// A run that is killed leaves nothing: no process, no interface.
func TestKilled(t *testing.T) {
	before, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	bin := build(t)
	c := exec.Command(bin, "--rounds", "100", "--tests", "ping-p50")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second) // in the middle of something
	if running(bin) < 5 {
		t.Errorf("only %d processes run", running(bin))
	}
	_ = c.Process.Signal(syscall.SIGKILL)
	_ = c.Wait()
	for end := time.Now().Add(3 * time.Second); running(bin) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d processes are left", running(bin))
		}
	}
	after, err := net.Interfaces()
	if err != nil || len(after) != len(before) {
		t.Errorf("interfaces: %v, before %v (%v)", after, before, err)
	}
}

// running returns how many processes run a program.
func running(bin string) (n int) {
	files, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, f := range files {
		if target, _ := os.Readlink(f); target == bin {
			n++
		}
	}
	return n
}

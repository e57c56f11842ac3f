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

// Every row of the table has figures, however busy the machine is: how good they
// are is not for a test to judge.
func TestEveryRow(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	shipworm := filepath.Join(t.TempDir(), "shipworm")
	if out, err := exec.Command("go", "build", "-o", shipworm, "shipworm/cmd/shipworm").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	page := filepath.Join(t.TempDir(), "performance.md")
	var out, errs bytes.Buffer
	c := exec.CommandContext(ctx, build(t), "--quick", "--json", "--markdown", page, "--shipworm", shipworm)
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		t.Errorf("%v\n%s", err, &errs)
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(page); err != nil || !bytes.Contains(b, []byte("# Performance")) {
		t.Errorf("page of documentation: %v\n%s", err, b)
	}
	for _, m := range r.Missing {
		t.Log("left out: ", m)
	}
	got := map[series]line{}
	for _, x := range r.Rows {
		got[series{x.Test, x.Path}] = x
	}
	for _, want := range everyRow() {
		x := got[want]
		if x.N == 0 && (len(r.Missing) == 0 || !strings.Contains(want.path, "Miredo") && !strings.Contains(want.path, "miredo")) {
			t.Errorf("%s: %s: no figure: %q", want.test, want.path, x.Failed)
		}
		if zero := strings.HasPrefix(want.test, "retrans") || strings.HasPrefix(want.test, "allocs"); x.N > 0 && x.Max <= 0 && !zero {
			t.Errorf("%s: %s: %v", want.test, want.path, x.Values)
		}
	}
}

// everyRow returns the rows of a run of one round.
func everyRow() (out []series) {
	for _, k := range kinds {
		switch k.id {
		case "server", "miredo-server":
			for _, name := range []string{idle, afterMany} {
				out = append(out, series{"rss", k.name + name})
			}
			out = append(out, series{"server-rs", k.name}, series{"server-bubble", k.name})
			continue
		}
		out = append(out, series{"ping-p50", k.name}, series{"ping-p99", k.name})
		for _, w := range both {
			if w == noUSO && !k.plain {
				continue
			}
			for _, test := range []string{"tcp1", "tcp4", "udp"} {
				out = append(out, series{test, row(k.id, w)})
			}
			if k.id != "line" && k.id != "vxlan" {
				out = append(out, series{"cpu-tx", row(k.id, w)}, series{"cpu-rx", row(k.id, w)})
			}
			if !strings.HasPrefix(k.id, "stack") {
				out = append(out, series{"retrans1", row(k.id, w)}, series{"retrans4", row(k.id, w)})
			}
		}
	}
	for _, name := range []string{idle, manyPeers} {
		out = append(out, series{"rss", nameClient + name}, series{"rss", nameMiredoClient + name})
	}
	return out
}

// A run that is killed leaves nothing: no process, no interface.
func TestKilled(t *testing.T) {
	before, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	bin := build(t)
	c := exec.Command(bin, "--rounds", "100", "--only", "ping")
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

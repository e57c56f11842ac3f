//go:build lab && linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
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
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
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
		case "runs":
			for w := uso; w <= gro; w++ {
				for _, test := range []string{"tcp1", "cpu-tx", "cpu-rx"} {
					out = append(out, series{test, row(k.id, w)})
				}
			}
			continue
		}
		out = append(out, series{"ping-p50", k.name}, series{"ping-p99", k.name})
		if k.id != "line" && k.id != "vxlan" {
			out = append(out, series{"ping-wakes", k.name}, series{"ping-cpu", k.name})
		}
		for w := uso; w <= k.last; w++ {
			out = append(out, series{"tcp1", row(k.id, w)})
			if w != gro {
				out = append(out, series{"tcp4", row(k.id, w)}, series{"udp", row(k.id, w)})
			}
			if k.id != "line" && k.id != "vxlan" {
				out = append(out, series{"cpu-tx", row(k.id, w)}, series{"cpu-rx", row(k.id, w)})
			}
			if !strings.HasPrefix(k.id, "stack") && w != gro {
				out = append(out, series{"retrans1", row(k.id, w)}, series{"retrans4", row(k.id, w)})
			}
		}
	}
	for _, name := range []string{idle, manyPeers} {
		out = append(out, series{"rss", nameClient + name}, series{"rss", nameMiredoClient + name})
	}
	return out
}

// Every cable is what it says, whichever was there before.
func TestPlug(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces of this process take root")
	}
	w, err := newWorld(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []cable{uso, gro, noUSO, gro, uso, noUSO, uso} {
		if err := w.plug(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		for _, l := range []struct {
			ns   *netns
			name string
		}{{w.a, "to-b"}, {w.b, "to-a"}, {w.a, "to-r"}, {w.r, "to-a"}} {
			out, err := l.ns.run(t.Context(), "ethtool", "-k", l.name)
			if err != nil {
				t.Fatal(err)
			}
			for feature, want := range map[string]bool{"tx-udp-segmentation": c == uso, "generic-receive-offload": c == gro, "rx-udp-gro-forwarding": c == gro} {
				if got := strings.Contains(out, feature+": on"); got != want {
					t.Errorf("%s: %s in %s: %s: %v, want %v", cables[c].name, l.name, l.ns.name, feature, got, want)
				}
			}
		}
	}
}

// A path that stops working has the reason in its rows, and others go on.
func TestPathFails(t *testing.T) {
	bin := build(t)
	var out bytes.Buffer
	c := exec.Command(bin, "--quick", "--only", "ping", "--paths", "line,naive", "--rounds", "4", "--json")
	c.Stdout = &out
	said, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(said); lines.Scan(); {
		if strings.Contains(lines.Text(), "round 1 of 4") {
			for _, pid := range running(bin, "naive") {
				_ = syscall.Kill(pid, syscall.SIGSTOP) // as if it hung
			}
		}
	}
	_ = c.Wait()
	if code := c.ProcessState.ExitCode(); code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	rounds := map[string]int{}
	for _, x := range r.Rows {
		rounds[x.Path] = x.N
		if ok := x.Path == "the bare line" || x.Test != "ping-p50"; ok != (len(x.Failed) == 0) {
			t.Errorf("%s, %s: failed %q", x.Test, x.Path, x.Failed)
		}
	}
	if rounds["the bare line"] != 4 || rounds["naive tunnel"] == 4 {
		t.Errorf("rounds with figures: %v", rounds)
	}
	if left := running(bin, ""); len(left) > 0 {
		t.Errorf("processes left: %v", left)
	}
}

// A run that is interrupted or killed leaves nothing: no process, no interface.
func TestEnds(t *testing.T) {
	bin := build(t)
	for _, c := range []struct {
		signal syscall.Signal
		code   int
	}{{syscall.SIGINT, exitInterrupted}, {syscall.SIGTERM, exitInterrupted}, {syscall.SIGKILL, -1}} {
		t.Run(c.signal.String(), func(t *testing.T) {
			before, err := net.Interfaces()
			if err != nil {
				t.Fatal(err)
			}
			p := exec.Command(bin, "--rounds", "100", "--only", "ping")
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(time.Minute); len(running(bin, "")) < 5; time.Sleep(20 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("only %d processes run", len(running(bin, "")))
				}
			}
			time.Sleep(time.Second) // in the middle of something
			_ = p.Process.Signal(c.signal)
			_ = p.Wait()
			if code := p.ProcessState.ExitCode(); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for end := time.Now().Add(time.Minute); len(running(bin, "")) > 0; time.Sleep(20 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("left: %v", running(bin, ""))
				}
			}
			after, err := net.Interfaces()
			if err != nil || len(after) != len(before) {
				t.Errorf("interfaces: %v, before %v (%v)", after, before, err)
			}
		})
	}
}

// running returns the processes that run a program with an argument.
func running(bin, arg string) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, f := range files {
		target, _ := os.Readlink(f)
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(f), "cmdline"))
		if target == bin && (arg == "" || slices.Contains(strings.Split(string(line), "\x00"), arg)) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			pids = append(pids, pid)
		}
	}
	return pids
}

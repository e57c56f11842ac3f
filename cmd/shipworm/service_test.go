package main

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// The service manager hears that we are ready, alive at half of its patience,
// and about to end; nobody hears anything without one. C-03
func TestNotify(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("systemd is Linux's")
	}
	t.Setenv("NOTIFY_SOCKET", "")
	ready, stop := startNotify(func() string { t.Error("nobody asked"); return "" })
	ready()
	stop()

	l := serviceManager(t, "40000")
	var heard []string
	alive, end := make(chan struct{}), make(chan struct{})
	go func() { // all the time: a queue that is full holds up who speaks
		defer close(end)
		for b := make([]byte, 1000); ; {
			n, err := l.Read(b)
			if err != nil || n == 0 {
				return
			}
			if heard = append(heard, string(b[:n])); len(heard) == 4 {
				close(alive)
			}
		}
	}()
	wait := func(c chan struct{}) {
		t.Helper()
		select {
		case <-c:
		case <-time.After(time.Minute):
			t.Fatal("it fell silent")
		}
	}
	ready, stop = startNotify(func() string { return "two\nlines" })
	ready()
	wait(alive)
	stop()
	mark, err := net.Dial("unixgram", l.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer mark.Close()
	if _, err := mark.Write(nil); err != nil {
		t.Fatal(err)
	}
	wait(end)
	stopping := 0
	for _, s := range heard[1:] {
		if s == "STOPPING=1" {
			stopping++
		} else if s != "WATCHDOG=1\nSTATUS=two lines" {
			t.Errorf("heard %q", s)
		}
	}
	if heard[0] != "READY=1" || stopping != 1 {
		t.Errorf("heard %q", heard)
	}
}

// serviceManager listens where this process tells how it fares, which it has to
// in a time, in microseconds.
func serviceManager(t *testing.T, patience string) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", patience)
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	return l
}

// What is new is told at once, between the turns of the watchdog.
func TestNotifyNews(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("systemd is Linux's")
	}
	l := serviceManager(t, "7200000000")
	turns := 0 // of one goroutine
	ready, stop := startNotify(func() string { turns++; return strconv.Itoa(turns) })
	defer stop()
	for turn, want := range []string{"READY=1", "WATCHDOG=1\nSTATUS=1", "WATCHDOG=1\nSTATUS=2"} {
		if turn != 1 {
			ready()
		}
		_ = l.SetReadDeadline(time.Now().Add(time.Minute))
		b := make([]byte, 1000)
		n, err := l.Read(b)
		if err != nil || string(b[:n]) != want {
			t.Fatalf("heard %q, %v; want %q", b[:n], err, want)
		}
	}
}

// Each unit starts a command that exists, with the table of its name.
func TestUnitsStart(t *testing.T) {
	units, _ := filepath.Glob("../../dist/systemd/*.service")
	if len(units) != 3 {
		t.Fatalf("%d units", len(units))
	}
	line := regexp.MustCompile(`(?m)^ExecStart=/usr/bin/shipworm (.*)$`)
	for _, u := range units {
		b, err := os.ReadFile(u)
		if err != nil {
			t.Fatal(err)
		}
		m := line.FindSubmatch(b)
		if m == nil {
			t.Fatalf("%s starts nothing", u)
		}
		c, rest, err := newRoot(systemConfig).Find(regexp.MustCompile(` `).Split(string(m[1]), -1))
		if err != nil || !c.Runnable() || c.HasSubCommands() {
			t.Errorf("%s: no command %s: %v", u, m[1], err)
		} else if err := c.ParseFlags(rest); err != nil {
			t.Errorf("%s: %v", u, err)
		}
	}
}

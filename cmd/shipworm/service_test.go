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

	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "40000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	ready, stop = startNotify(func() string { return "two\nlines" })
	expect := func(want string) {
		t.Helper()
		_ = l.SetReadDeadline(time.Now().Add(10 * time.Second))
		b := make([]byte, 1000)
		n, err := l.Read(b)
		if err != nil || string(b[:n]) != want {
			t.Fatalf("heard %q, %v; want %q", b[:n], err, want)
		}
	}
	ready()
	expect("READY=1")
	for range 3 {
		expect("WATCHDOG=1\nSTATUS=two lines")
	}
	stop()
	b := make([]byte, 1000)
	for {
		n, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		if string(b[:n]) == "STOPPING=1" {
			return
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

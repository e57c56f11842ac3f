//go:build lab

// Package xvfb gives laboratory tests an X server of their own, and programs
// on it. Nothing outside of tests uses it.
package xvfb

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"shipworm/ra/screen"
)

// Start starts Xvfb on a display of its own and returns the display's name. It ends
// with the test. The test is skipped if Xvfb is not installed.
func Start(t testing.TB, size image.Point, depth int, args ...string) string {
	t.Helper()
	display, _ := StartProcess(t, size, depth, args...)
	return display
}

// StartProcess is Start for tests that maltreat the server.
func StartProcess(t testing.TB, size image.Point, depth int, args ...string) (string, *os.Process) {
	t.Helper()
	path, err := exec.LookPath("Xvfb")
	if err != nil {
		t.Skip("Xvfb is not installed (Debian package xvfb)")
	}
	// Xvfb's own search for a free number races others of its kind, which do
	// not notice. A number of ours may be taken: then Xvfb ends, and says so.
	for range 10 {
		display := fmt.Sprintf(":%d", 1000+rand.IntN(50000))
		if server := start(t, exec.Command(path, append([]string{
			display, "-displayfd", "3", "-nolisten", "tcp", "-noreset",
			"-screen", "0", fmt.Sprintf("%dx%dx%d", size.X, size.Y, depth),
		}, args...)...)); server != nil {
			return display, server
		}
	}
	t.Fatal("Xvfb did not start")
	return "", nil
}

// start returns nil if the server ends instead of starting.
func start(t testing.TB, cmd *exec.Cmd) *os.Process {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.ExtraFiles = []*os.File{w}
	run(t, cmd)
	w.Close()
	_ = r.SetReadDeadline(time.Now().Add(time.Minute))
	// Up to the newline: Xvfb does not survive a pipe that closes early.
	switch _, err := bufio.NewReader(r).ReadString('\n'); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		t.Fatalf("Xvfb did not start: %v", err)
	}
	return cmd.Process
}

// Run starts a program on the display; it ends with the test.
func Run(t testing.TB, display, program string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed", program)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "DISPLAY="+display, "LC_ALL=C.UTF-8")
	run(t, cmd)
}

func run(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stderr = &out
	// In a group of its own, so that what it started ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		if t.Failed() && out.Len() > 0 {
			t.Logf("%s: %s", cmd.Path, out.String())
		}
	})
}

// Shows waits until something is on the display, which is black without it.
// Keys that are injected earlier go nowhere.
func Shows(t testing.TB, display string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		f := Screenshot(t, display)
		if bytes.Count(f.Pix, []byte{0}) < len(f.Pix) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("nothing is on the display")
		}
	}
}

// Screenshot reads the display with a program that is not ours: xwd.
func Screenshot(t testing.TB, display string) *screen.Frame {
	t.Helper()
	path, err := exec.LookPath("xwd")
	if err != nil {
		t.Skip("xwd is not installed (Debian package x11-apps)")
	}
	b, err := exec.Command(path, "-root", "-silent", "-display", display).Output()
	if err != nil {
		t.Fatalf("xwd: %v", err)
	}
	// The header of an XWD file, version 7: 25 words, big endian.
	var h [25]uint32
	if _, err := binary.Decode(b, binary.BigEndian, &h); err != nil {
		t.Fatal(err)
	}
	const headerSize, width, height, byteOrder, bits, stride, colors = 0, 4, 5, 7, 11, 12, 19
	if h[bits] != 32 || h[byteOrder] != 0 {
		t.Fatalf("xwd: %d bits a pixel, byte order %d", h[bits], h[byteOrder])
	}
	f := screen.NewFrame(image.Pt(int(h[width]), int(h[height])))
	pix := b[h[headerSize]+12*h[colors]:]
	for y := range f.Size.Y {
		row := f.Row(y, 0, f.Size.X)
		copy(row, pix[y*int(h[stride]):])
		for x := 3; x < len(row); x += 4 {
			row[x] = 0
		}
	}
	return f
}

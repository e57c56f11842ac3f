//go:build lab && linux

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"shipworm/ra/sessionlog"
)

// side is one shipworm process with its terminal held by the test.
type side struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser

	mu   sync.Mutex
	out  bytes.Buffer // stdout
	err  bytes.Buffer
	news chan struct{}
	code chan int
}

// Write is what the process says on stdout.
func (s *side) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.Write(b)
	select {
	case s.news <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (s *side) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String()
}

func startSide(t *testing.T, bin, dir string, env []string, args ...string) *side {
	t.Helper()
	s := &side{t: t, cmd: exec.Command(bin, args...), news: make(chan struct{}, 1), code: make(chan int, 1)}
	s.cmd.Dir, s.cmd.Env = dir, append(os.Environ(), env...)
	s.cmd.Stdout, s.cmd.Stderr = s, &s.err
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s.cmd.Wait()
		s.code <- s.cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() { s.cmd.Process.Kill() })
	return s
}

func (s *side) wait(text string) {
	s.t.Helper()
	for deadline := time.After(20 * time.Second); ; {
		if strings.Contains(s.said(), text) {
			return
		}
		select {
		case <-s.news:
		case <-deadline:
			s.t.Fatalf("%q was not said:\n%s", text, s.said())
		}
	}
}

func (s *side) types(line string) {
	s.t.Helper()
	if _, err := io.WriteString(s.in, line+"\n"); err != nil {
		s.t.Fatal(err)
	}
}

// ends waits for the exit code, and returns stderr.
func (s *side) ends(want int, within time.Duration) string {
	s.t.Helper()
	select {
	case got := <-s.code:
		if got != want {
			s.t.Errorf("exit code %d, want %d:\n%s%s", got, want, s.said(), s.err.String())
		}
	case <-time.After(within):
		s.t.Fatalf("still running after %v:\n%s", within, s.said())
	}
	return s.err.String()
}

// xvfb starts an X server of the test's own and returns its display.
func xvfb(t *testing.T) string {
	t.Helper()
	bin, err := exec.LookPath("Xvfb")
	if err != nil {
		t.Skip("Xvfb is not installed: no desktop to share")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	x := exec.Command(bin, "-displayfd", "3", "-screen", "0", "640x480x24", "-nolisten", "tcp")
	x.ExtraFiles = []*os.File{w}
	if err := x.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() { x.Process.Signal(syscall.SIGTERM); x.Wait() })
	n, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal("Xvfb does not start:", err)
	}
	return ":" + strings.TrimSpace(n)
}

// shipworm returns the binary under test.
func shipworm(t *testing.T) string {
	t.Helper()
	if bin := os.Getenv("SHIPWORM_BIN"); bin != "" {
		return bin
	}
	bin := filepath.Join(t.TempDir(), "shipworm")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return bin
}

type raPair struct {
	dir          string
	password     string
	user, helper *side
}

// connect brings up both sides to the User's question.
func connect(t *testing.T, display string) *raPair {
	t.Helper()
	bin := shipworm(t)
	p := &raPair{dir: t.TempDir()}
	p.user = startSide(t, bin, p.dir, []string{"DISPLAY=" + display}, "ra", "invite", "--direct", "::1", "--no-web", "-v",
		"--name", "Alice", "--log-dir", filepath.Join(p.dir, "user"), "--password-file", "password")
	p.user.wait("has been opened")
	b, err := os.ReadFile(filepath.Join(p.dir, "password"))
	if err != nil {
		t.Fatal(err)
	}
	p.password = strings.TrimSpace(string(b))
	p.helper = startSide(t, bin, p.dir, nil, "ra", "open", "Invitation.MsRcIncident", "--no-web", "-v",
		"--name", "Bob", "--log-dir", filepath.Join(p.dir, "helper"), "--password-file", "password")
	p.user.wait(`Allow "Bob" (not verified)`)
	return p
}

func (p *raPair) log(t *testing.T, who string) (events string) {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(p.dir, who, "*.xml"))
	if len(names) != 1 {
		t.Fatalf("%s has logs %v", who, names)
	}
	f, err := os.Open(names[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	recs, err := sessionlog.Read(f)
	if err != nil {
		t.Fatalf("%s's log: %v", who, err)
	}
	for _, r := range recs {
		events += r.Event + " "
	}
	return events
}

// C-06, RR-03, R-30: the ends of a session between two real processes and a
// real display: each is one line and the right exit code on both sides, the
// logs are whole, and the password is in none of it.
func TestRAEnds(t *testing.T) {
	display := xvfb(t)
	for _, tt := range []struct {
		name         string
		do           func(p *raPair)
		user, helper int
		line         string // the last one of the Helper's stderr
		last         string // event of the Helper's log
	}{
		{"the helper stops", func(p *raPair) {
			p.user.types("y")
			p.helper.wait("Screen Sharing")
			p.helper.types("hello \x1b[31mAlice")
			p.user.wait("helper Bob: hello [31mAlice")
			p.helper.types("/stop")
		}, exitOK, exitOK, "", sessionlog.ConnectionEnded},
		{"the user refuses", func(p *raPair) { p.user.types("n") },
			exitOK, exitFailure, "shipworm: ra open: consent refused: the User said No", sessionlog.ConnectionEnded},
		{"the user presses Ctrl-C", func(p *raPair) {
			p.user.types("y")
			p.helper.wait("Screen Sharing")
			p.user.cmd.Process.Signal(os.Interrupt)
		}, exitInterrupted, exitOK, "", sessionlog.ConnectionEnded},
		{"the user is killed", func(p *raPair) {
			p.user.types("y")
			p.helper.wait("Screen Sharing")
			p.user.cmd.Process.Kill()
		}, -1, exitFailure, "shipworm: ra open: connection lost", sessionlog.ConnectionLost},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := connect(t, display)
			for _, s := range []*side{p.user, p.helper} {
				for _, name := range []string{"cmdline", "environ"} {
					b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", s.cmd.Process.Pid, name))
					if err != nil || bytes.Contains(b, []byte(p.password)) {
						t.Errorf("%s: the password is in it, or %v", name, err)
					}
				}
			}
			tt.do(p)
			start := time.Now()
			p.user.ends(tt.user, 20*time.Second)
			stderr := p.helper.ends(tt.helper, 20*time.Second)
			if d := time.Since(start); d > 16*time.Second {
				t.Errorf("it took %v", d)
			}
			if tt.line != "" && !strings.HasSuffix(stderr, tt.line+"\n") {
				t.Errorf("stderr ends not in %q:\n%s", tt.line, stderr)
			}
			if got := p.log(t, "helper"); !strings.HasSuffix(got, tt.last+" ") {
				t.Errorf("the Helper's log: %s", got)
			}
			if got := p.log(t, "user"); tt.user != -1 && !strings.HasSuffix(got, sessionlog.InvitationClosed+" ") {
				t.Errorf("the User's log: %s", got)
			}
			p.leaks(t)
		})
	}
}

// leaks looks for the password in everything that was left behind.
func (p *raPair) leaks(t *testing.T) {
	t.Helper()
	plain := strings.ReplaceAll(p.password, "-", "")
	check := func(what, s string) {
		if strings.Contains(s, p.password) || strings.Contains(s, plain) {
			t.Errorf("the password is in %s", what)
		}
	}
	for _, s := range []*side{p.user, p.helper} {
		check("stdout", s.said())
		check("stderr", s.err.String())
	}
	err := filepath.Walk(p.dir, func(name string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() || info.Name() == "password" {
			return err
		}
		b, err := os.ReadFile(name)
		check(name, string(b))
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// an invitation that nobody takes ends by itself, and says so.
func TestRAExpires(t *testing.T) {
	u := startSide(t, shipworm(t), t.TempDir(), []string{"DISPLAY=" + xvfb(t)}, "ra", "invite", "--direct", "::1", "--no-web",
		"--expires", "1s", "--log-dir", "log")
	if got := u.ends(exitFailure, 10*time.Second); got != "shipworm: ra invite: the invitation has expired\n" {
		t.Errorf("stderr: %q", got)
	}
	if !strings.Contains(u.said(), "* The session has ended: the invitation has expired.") {
		t.Errorf("stdout: %s", u.said())
	}
}

// a dump of all goroutines tells nothing.
func TestRADump(t *testing.T) {
	p := connect(t, xvfb(t))
	p.user.types("y")
	p.helper.wait("Screen Sharing")
	for _, s := range []*side{p.user, p.helper} {
		s.cmd.Process.Signal(syscall.SIGQUIT)
		if out := s.ends(2, 10*time.Second); !strings.Contains(out, "goroutine ") {
			t.Error("no dump:", out)
		}
	}
	p.leaks(t)
}

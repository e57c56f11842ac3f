//go:build lab && linux

package main

import (
	"bytes"
	"image"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"shipworm/ra/sessionlog"
	"shipworm/ra/x11/xvfb"
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
	deaf func() // closes the end of stdout that is read
}

// told checks that stderr has exactly one line of the program's end, this one;
// "" is none.
func (s *side) told(line string) {
	s.t.Helper()
	var got []string
	for l := range strings.SplitSeq(s.err.String(), "\n") {
		if strings.HasPrefix(l, "shipworm: ") {
			got = append(got, l)
		}
	}
	if want := "shipworm: " + line; line == "" && len(got) > 0 || line != "" && (len(got) != 1 || got[0] != want) {
		s.t.Errorf("the last word is %q, want %q", got, line)
	}
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
	return startSideAt(t, func(start func() error) error { return start() }, bin, dir, env, args...)
}

// startSideAt starts a process by the hand of at, which may put it elsewhere.
func startSideAt(t *testing.T, at func(start func() error) error, bin, dir string, env []string, args ...string) *side {
	t.Helper()
	s := &side{t: t, cmd: exec.Command(bin, args...), news: make(chan struct{}, 1), code: make(chan int, 1)}
	s.cmd.Dir, s.cmd.Env = dir, append(os.Environ(), env...)
	s.cmd.Stderr = &s.err
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	s.cmd.Stdout, s.deaf = w, func() { r.Close() }
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := at(s.cmd.Start); err != nil {
		t.Fatal(err)
	}
	go func() {
		io.Copy(s, r)
		s.cmd.Wait()
		s.code <- s.cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() { s.cmd.Process.Kill() })
	return s
}

func (s *side) wait(text string) {
	s.t.Helper()
	for deadline := time.After(patience); ; {
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

// patience is what a wait in vain may take: a machine may be slow, or stand
// still for seconds, and nothing be wrong with the program.
const patience = time.Minute

// anyCode is the end of a side that was killed.
const anyCode = -1

// ends waits for the exit code, and returns stderr.
func (s *side) ends(want int) string {
	s.t.Helper()
	select {
	case got := <-s.code:
		if got != want {
			s.t.Errorf("exit code %d, want %d:\n%s%s", got, want, s.said(), s.err.String())
		}
	case <-time.After(patience):
		s.t.Fatalf("still running after %v:\n%s", patience, s.said())
	}
	return s.err.String()
}

// newDesktop starts an X server of the test's own, and returns its display and
// what kills it before the test's end.
func newDesktop(t *testing.T) (display string, kill func()) {
	t.Helper()
	display, server := xvfb.StartProcess(t, image.Pt(640, 480), 24)
	return display, func() { must(t, server.Kill()) }
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

// raPair is the two sides of one session. at says where they run and with what
// flags; the zero places are this host with its loopback.
type raPair struct {
	t            *testing.T
	bin          string
	dir          string
	display      string
	atUser       place
	atHelper     place
	password     string
	user, helper *side
}

type place struct {
	enter func(start func() error) error
	flags []string
}

func newPair(t *testing.T, bin, display string) *raPair {
	t.Helper()
	here := func(start func() error) error { return start() }
	p := &raPair{t: t, bin: bin, dir: t.TempDir(), display: display,
		atUser: place{here, []string{"--direct", "127.0.0.1"}}, atHelper: place{here, nil}}
	if err := os.Mkdir(filepath.Join(p.dir, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *raPair) start(at place, name, log string, args ...string) *side {
	p.t.Helper()
	args = append(args, "--no-web", "-v", "--name", name, "--log-dir", filepath.Join(p.dir, log), "--password-file", "password")
	env := []string{"DISPLAY=" + p.display, "TMPDIR=" + filepath.Join(p.dir, "tmp"), "XDG_STATE_HOME=" + filepath.Join(p.dir, "state", log)}
	return startSideAt(p.t, at.enter, p.bin, p.dir, env, append(args, at.flags...)...)
}

// invite brings up the User's side, until there is an invitation.
func (p *raPair) invite() {
	p.t.Helper()
	p.user = p.start(p.atUser, "Alice", "user", "ra", "invite")
	p.user.wait("has been opened")
	b, err := os.ReadFile(filepath.Join(p.dir, "password"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.password = strings.TrimSpace(string(b))
}

// open brings up the Helper's side.
func (p *raPair) open() {
	p.helper = p.start(p.atHelper, "Bob", "helper", "ra", "open", "Invitation.MsRcIncident")
}

// connect brings up both sides to the User's question.
func (p *raPair) connect() {
	p.t.Helper()
	p.invite()
	p.open()
	p.user.wait(`Allow "Bob" (not verified)`)
}

// share brings up both sides to the shared screen.
func (p *raPair) share() {
	p.t.Helper()
	p.connect()
	p.user.types("y")
	p.helper.wait("Screen Sharing")
}

// control brings up both sides to shared control.
func (p *raPair) control() {
	p.t.Helper()
	p.share()
	p.helper.types("/control")
	p.user.wait("to use your mouse and keyboard?")
	time.Sleep(2100 * time.Millisecond) // a Yes does not count earlier
	p.user.types("y")
	p.helper.wait("Control Sharing")
}

// log returns the names of the records of one side's only log.
func (p *raPair) log(who string) (events []string) {
	p.t.Helper()
	names, _ := filepath.Glob(filepath.Join(p.dir, who, "*.xml"))
	if len(names) != 1 {
		p.t.Fatalf("%s has logs %v", who, names)
	}
	f, err := os.Open(names[0])
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	recs, err := sessionlog.Read(f)
	if err != nil {
		p.t.Errorf("%s's log: %v", who, err)
	}
	for _, r := range recs {
		events = append(events, r.Event)
	}
	return events
}

// hasLogged reports whether a log, which may be in the middle of a write, names
// an event.
func (p *raPair) hasLogged(who, event string) bool {
	p.t.Helper()
	names, _ := filepath.Glob(filepath.Join(p.dir, who, "*.xml"))
	return slices.ContainsFunc(names, func(name string) bool {
		b, err := os.ReadFile(name)
		must(p.t, err)
		return bytes.Contains(b, []byte("<"+event+" "))
	})
}

func (p *raPair) logEnds(who string, want ...string) {
	p.t.Helper()
	got := p.log(who)
	if len(got) < len(want) || !slices.Equal(got[len(got)-len(want):], want) {
		p.t.Errorf("%s's log is %v, want the end %v", who, got, want)
	}
}

// left checks what the processes left behind: their product, and no secret in
// it.
func (p *raPair) left() {
	p.t.Helper()
	for _, pattern := range []string{"tmp/*", ".*"} {
		if names, _ := filepath.Glob(filepath.Join(p.dir, pattern)); len(names) > 0 {
			p.t.Errorf("left behind: %v", names)
		}
	}
	p.leaks(p.t)
}

// leaks looks for the password in everything that was left behind.
func (p *raPair) leaks(t *testing.T) {
	t.Helper()
	if p.password == "" {
		return // there was never an invitation
	}
	plain := strings.ReplaceAll(p.password, "-", "")
	check := func(what, s string) {
		if strings.Contains(s, p.password) || strings.Contains(s, plain) {
			t.Errorf("the password is in %s", what)
		}
	}
	for _, s := range []*side{p.user, p.helper} {
		if s == nil {
			continue
		}
		check("stdout", s.said())
		check("stderr", s.err.String())
	}
	err := filepath.Walk(p.dir, func(name string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() || info.Name() == "password" {
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
	t.Parallel()
	display, _ := newDesktop(t)
	u := startSide(t, shipworm(t), t.TempDir(), []string{"DISPLAY=" + display}, "ra", "invite", "--direct", "127.0.0.1", "--no-web",
		"--expires", "1s", "--log-dir", "log")
	if got := u.ends(exitFailure); got != "shipworm: ra invite: the invitation has expired\n" {
		t.Errorf("stderr: %q", got)
	}
	if !strings.Contains(u.said(), "* The session has ended: the invitation has expired.") {
		t.Errorf("stdout: %s", u.said())
	}
}

// a dump of all goroutines of the processes that know the secret tells
// nothing.
func TestRADump(t *testing.T) {
	t.Parallel()
	display, _ := newDesktop(t)
	p := newPair(t, shipworm(t), display)
	p.share()
	// The end of one side ends the other in good order: both stand still until
	// their signal has come.
	sides := []*side{p.user, p.helper}
	for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGQUIT, syscall.SIGCONT} {
		for _, s := range sides {
			must(t, syscall.Kill(s.child(), sig))
		}
	}
	for _, s := range sides {
		if out := s.ends(exitCrashed); !strings.Contains(out, "goroutine ") {
			t.Error("no dump:", out)
		}
	}
	p.leaks(t)
}

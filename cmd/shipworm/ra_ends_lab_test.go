//go:build lab && linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"shipworm/ra/sessionlog"
)

// C-06: a program that is told to end has ended within two seconds. The best of
// three: a machine that is busy may be late.
func TestRAEndsInTime(t *testing.T) {
	display, _ := newDesktop(t)
	const within = 2 * time.Second
	best := time.Minute
	for try := 0; try < 3 && best > within; try++ {
		p := newPair(t, shipworm(t), display)
		p.share()
		begin := time.Now()
		p.user.cmd.Process.Signal(syscall.SIGTERM)
		p.user.ends(exitInterrupted)
		best = min(best, time.Since(begin))
		p.helper.ends(exitOK)
	}
	if best > within {
		t.Errorf("took %v at best", best)
	}
}

// C-06, RR-03, R-30, R-36: the ends of a session between two real processes and
// a real display: each is one line and the right exit code on both sides, the
// logs are whole, the password is in none of it, and nothing is left behind.
func TestRAEnds(t *testing.T) {
	t.Parallel()
	unNohup()
	const (
		opened, closed = sessionlog.InvitationOpened, sessionlog.InvitationClosed
		ended, lost    = sessionlog.ConnectionEnded, sessionlog.ConnectionLost
		off            = sessionlog.ExpertControlEnded
	)
	signal := func(s func(p *raPair) *side, sig os.Signal) func(p *raPair) {
		return func(p *raPair) { s(p).cmd.Process.Signal(sig) }
	}
	hangUp := func(s func(p *raPair) *side) func(p *raPair) { // the kernel says it, and the shell
		return func(p *raPair) {
			s(p).cmd.Process.Signal(syscall.SIGHUP)
			time.Sleep(time.Millisecond)
			s(p).cmd.Process.Signal(syscall.SIGHUP)
		}
	}
	user := func(p *raPair) *side { return p.user }
	helper := func(p *raPair) *side { return p.helper }
	type end struct {
		code int
		line string   // of stderr, without the program's name
		log  []string // its end
	}
	for _, tt := range []struct {
		name         string
		stage, do    func(p *raPair)
		user, helper end
	}{
		{"the helper stops", (*raPair).share, func(p *raPair) {
			p.helper.types("hello \x1b[31mAlice")
			p.user.wait("helper Bob: hello [31mAlice")
			p.helper.types("/stop")
		}, end{exitOK, "", []string{sessionlog.ChatMessage, ended, closed}}, end{exitOK, "", []string{ended}}},
		{"the user refuses the view", (*raPair).connect, func(p *raPair) { p.user.types("n") },
			end{exitOK, "", []string{sessionlog.ViewRefused, ended, closed}},
			end{exitFailure, "ra open: consent refused: the User said No", []string{sessionlog.ViewRefused, ended}}},
		{"the user refuses control", (*raPair).share, func(p *raPair) {
			p.helper.types("/control")
			p.user.wait("to use your mouse and keyboard?")
			p.user.types("")
			p.helper.wait("The User refused control.")
			p.helper.types("/control")
			p.helper.wait("came too soon after a No")
			p.user.types("/stop")
		}, end{exitOK, "", []string{sessionlog.ControlRefused, ended, closed}},
			end{exitOK, "", []string{sessionlog.ControlRefused, ended}}},
		{"the user's Ctrl-C before anybody came", (*raPair).invite, signal(user, os.Interrupt),
			end{exitInterrupted, "", []string{opened, closed}}, end{code: anyCode}},
		{"the user's Ctrl-C at the question", (*raPair).connect, signal(user, os.Interrupt),
			end{exitInterrupted, "", []string{ended, closed}}, end{exitOK, "", []string{ended}}},
		{"the user's Ctrl-C in control", (*raPair).control, signal(user, os.Interrupt),
			end{exitInterrupted, "", []string{off, ended, closed}}, end{exitOK, "", []string{off, ended}}},
		{"the user's SIGTERM", (*raPair).share, signal(user, syscall.SIGTERM),
			end{exitInterrupted, "", []string{ended, closed}}, end{exitOK, "", []string{ended}}},
		{"the user's terminal is closed", (*raPair).control, hangUp(user),
			end{exitInterrupted, "", []string{off, ended, closed}}, end{exitOK, "", []string{off, ended}}},
		{"the helper's Ctrl-C at the question", (*raPair).connect, signal(helper, os.Interrupt),
			end{exitOK, "", []string{ended, closed}}, end{exitInterrupted, "", []string{ended}}},
		{"the helper's terminal is closed", (*raPair).control, hangUp(helper),
			end{exitOK, "", []string{off, ended, closed}}, end{exitInterrupted, "", []string{off, ended}}},
		{"stdin ends, which ends nothing", (*raPair).share, func(p *raPair) {
			p.user.in.Close()
			p.helper.types("are you there?")
			p.helper.in.Close()
			p.user.wait("are you there?")
			p.user.cmd.Process.Signal(os.Interrupt)
		}, end{exitInterrupted, "", []string{sessionlog.ChatMessage, ended, closed}}, end{exitOK, "", []string{ended}}},
		{"the user is killed", (*raPair).control, func(p *raPair) { p.user.kill() },
			end{anyCode, "", []string{sessionlog.ExpertControlStarted}}, end{exitFailure, "ra open: connection lost", []string{off, lost}}},
		{"the helper is killed", (*raPair).control, func(p *raPair) { p.helper.kill() },
			end{exitFailure, "ra invite: connection lost", []string{off, lost, closed}}, end{anyCode, "", []string{sessionlog.ExpertControlStarted}}},
		{"a second helper", (*raPair).share, func(p *raPair) {
			second := p.start(p.atHelper, "Eve", "second", "ra", "open", "Invitation.MsRcIncident")
			second.ends(exitFailure)
			second.told("ra open: the other side is busy with another helper")
			p.logEnds("second", opened, sessionlog.ConnectionFailed)
			p.user.wait("A second Helper at 127.0.0.1:")
			p.user.types("/stop")
		}, end{exitOK, "", []string{sessionlog.SecondConnectionDenied, ended, closed}}, end{exitOK, "", []string{ended}}},
		{"the user's program is gone already", func(p *raPair) {
			p.invite()
			p.user.kill()
			p.user.ends(anyCode)
			p.user.code <- anyCode
			p.open()
			p.helper.wait("has been opened")
		}, func(*raPair) {}, end{anyCode, "", []string{opened}}, end{exitNegative, "", []string{sessionlog.ConnectionFailed}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			display, _ := newDesktop(t)
			p := newPair(t, shipworm(t), display)
			tt.stage(p)
			for _, s := range []*side{p.user, p.helper} {
				p.secretFree(s)
			}
			tt.do(p)
			for _, s := range []struct {
				name string
				side *side
				want end
			}{{"user", p.user, tt.user}, {"helper", p.helper, tt.helper}} {
				if s.side == nil {
					continue
				}
				s.side.ends(s.want.code)
				if s.want.code != exitFailure && s.want.code != exitNegative || s.want.line != "" {
					s.side.told(s.want.line)
				}
				p.logEnds(s.name, s.want.log...)
			}
			p.left()
		})
	}
}

// kill kills the process that has the session, and the one that watches it:
// alone, either would see to a good end.
func (s *side) kill() {
	s.t.Helper()
	child := s.child()
	// The command would end in good order if it saw its watcher go first, and
	// the watcher would tidy up after the command.
	_ = s.cmd.Process.Signal(syscall.SIGSTOP)
	_ = syscall.Kill(child, syscall.SIGKILL)
	_ = s.cmd.Process.Kill()
}

// child is the process that has the session, and is watched.
func (s *side) child() int {
	s.t.Helper()
	out, err := exec.Command("pgrep", "-P", strconv.Itoa(s.cmd.Process.Pid)).Output()
	if err != nil {
		s.t.Fatal("pgrep: ", err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		s.t.Fatal(err)
	}
	return child
}

// secretFree looks for the password where other processes can look.
func (p *raPair) secretFree(s *side) {
	if s == nil {
		return
	}
	for _, name := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", s.cmd.Process.Pid, name))
		if err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) || bytes.Contains(b, []byte(p.password)) {
			p.t.Errorf("%s: the password is in it, or %v", name, err)
		}
	}
}

// RR-03: the X server is killed.
func TestRADesktopKilled(t *testing.T) {
	t.Parallel()
	display, kill := newDesktop(t)
	p := newPair(t, shipworm(t), display)
	p.control()
	kill()
	p.user.ends(exitFailure)
	p.helper.ends(exitFailure)
	p.user.told("ra invite: the desktop is gone: x11: connection lost: unexpected EOF")
	p.helper.told("ra open: the User's program has failed")
	p.logEnds("user", sessionlog.ConnectionEnded, sessionlog.InvitationClosed)
	p.logEnds("helper", sessionlog.ConnectionEnded)
	p.left()
}

// RR-06: nobody reads what the User's side says any more (| head).
func TestRABrokenPipe(t *testing.T) {
	t.Parallel()
	display, _ := newDesktop(t)
	p := newPair(t, shipworm(t), display)
	p.invite()
	p.user.deaf()
	p.open()
	// The question is written where nobody reads, and the log goes on.
	for deadline := time.Now().Add(patience); !p.hasLogged("user", sessionlog.IncomingIPAddress); {
		if time.Now().After(deadline) {
			t.Fatal("nobody has come")
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.user.types("/stop")
	p.user.ends(exitOK)
	p.helper.ends(exitOK)
	p.logEnds("user", sessionlog.ConnectionEnded, sessionlog.InvitationClosed)
}

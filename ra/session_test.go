package ra

import (
	"bytes"
	"context"
	"errors"
	"image"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"shipworm/ra/channel"
	"shipworm/ra/face"
	"shipworm/ra/rfb"
	"shipworm/ra/screen"
	"shipworm/ra/sessionlog"
)

// The whole job: invite, open, consent, first frame, control, a key, chat,
// Esc, stop, and a log on both sides.
func TestWholeSession(t *testing.T) {
	virtual(t, func(t *testing.T) {
		h := newHome(t, func(c *UserConfig) { c.seal = nil }) // for real
		h.screen.Paint(image.Rect(10, 10, 60, 40), func(f *screen.Frame) { f.Fill(image.Rect(10, 10, 60, 40), 0x3366cc) })
		inv, password := h.unsealed()
		h.dial(inv, password)
		h.answer(face.AskView, true)
		h.waitHelper("the screen", in(face.Screen))

		conn, v := h.viewer()
		frames := make(chan struct{}, 1)
		viewed := make(chan error, 1)
		go func() {
			for {
				ev, err := v.Next()
				if err != nil {
					viewed <- err
					return
				}
				if ev == rfb.Updated && bytes.Equal(v.Frame().Pix, h.screen.Snapshot().Pix) {
					select {
					case frames <- struct{}{}:
					default:
					}
				}
			}
		}()
		select {
		case <-frames:
		case err := <-viewed:
			t.Fatal(err)
		case <-time.After(patience):
			t.Fatal("the desktop was not seen")
		}

		key := rfb.Input{Kind: rfb.KeyInput, Down: true, Keysym: 'a'}
		_, err := conn.Write(key.AppendTo(nil)) // without control: dropped at both sides
		must(t, err)
		synctest.Wait()
		h.control()
		_, err = conn.Write(key.AppendTo(nil))
		must(t, err)
		waitFor(t, "the key", func() bool { ev, _ := h.inj.seen(); return len(ev) > 0 })
		if ev, _ := h.inj.seen(); len(ev) != 1 || ev[0] != key {
			t.Errorf("injected %+v, want one key", ev)
		}

		must(t, h.user.Chat("hello Bob"))
		must(t, h.helper.Chat("hello Alice"))
		h.waitUser("chat", said("hello Alice"))
		h.waitHelper("chat", said("hello Bob"))

		h.esc.esc <- struct{}{}
		h.waitHelper("the end of control", in(face.Screen))
		if _, released := h.inj.seen(); released == 0 {
			t.Error("keys were not released")
		}
		must(t, h.helper.Stop())
		if u, hl := h.ends(); u != nil || hl != nil {
			t.Errorf("ends: %v and %v", u, hl)
		}
		if err := <-viewed; err == nil {
			t.Error("the viewer lives on")
		}

		want := []string{
			sessionlog.InvitationOpened, sessionlog.IncomingIPAddress, sessionlog.ViewGranted, sessionlog.ConnectionEstablished,
			sessionlog.ExpertRequestControl, sessionlog.ExpertGrantedControl, sessionlog.ExpertControlStarted,
			sessionlog.ChatMessage, sessionlog.ChatMessage, sessionlog.ExpertControlEnded, sessionlog.ConnectionEnded,
		}
		if d := cmp.Diff(want, logged(t, h.helper.LogPath())); d != "" {
			t.Errorf("the Helper's log: %s", d)
		}
		if d := cmp.Diff(append(want, sessionlog.InvitationClosed), logged(t, h.user.LogPath())); d != "" {
			t.Errorf("the User's log: %s", d)
		}
	})
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waiting for %s", what)
		}
	}
}

// No, and no answer, end the session on both sides with one line; no
// pixel was read.
func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		refuse func(h *home)
		user   error
	}{
		{"said No", func(h *home) { h.answer(face.AskView, false) }, nil},
		{"said nothing", func(*home) {}, ErrRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				h := newHome(t)
				h.open()
				tt.refuse(h)
				u, hl := h.ends()
				if !errors.Is(u, tt.user) || !errors.Is(hl, ErrRefused) {
					t.Errorf("ends: %v and %v", u, hl)
				}
				for _, name := range []string{h.user.LogPath(), h.helper.LogPath()} {
					if got := logged(t, name); !slices.Contains(got, sessionlog.ViewRefused) || slices.Contains(got, sessionlog.ConnectionEstablished) {
						t.Errorf("log: %v", got)
					}
				}
				if n := h.screen.Grabs(); n != 0 {
					t.Errorf("the screen was read %d times", n)
				}
			})
		})
	}
}

// RR-01, RR-03: a side that vanishes without a word is missed by the other in
// time, and the log is closed and says so.
func TestVanishing(t *testing.T) {
	for _, who := range []string{face.User, face.Helper} {
		t.Run(who, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				h := newHome(t)
				h.share()
				h.control()
				start := time.Now()
				var left error
				var log string
				if who == face.User {
					h.userNet.vanish()
					left, log = h.result("Helper", h.helperErr), h.helper.LogPath()
				} else {
					h.helpNet.vanish()
					waitFor(t, "the gate", func() bool { h.user.gate.mu.Lock(); defer h.user.gate.mu.Unlock(); return !h.user.gate.open })
					if v := h.user.View(); v.State != face.Control {
						t.Errorf("the gate closed in state %s, want before the session is given up", v.State)
					}
					left, log = h.result("User", h.userErr), h.user.LogPath()
				}
				if d := time.Since(start); !errors.Is(left, ErrLost) || left.Error() != "connection lost" || d < 10*time.Second || d > 20*time.Second {
					t.Errorf("%v after %v", left, d)
				}
				if got := logged(t, log); !slices.Contains(got, sessionlog.ConnectionLost) || !slices.Contains(got, sessionlog.ExpertControlEnded) {
					t.Errorf("log: %v", got)
				}
			})
		})
	}
}

// A long quiet session is not taken for a lost one.
func TestQuietSessionLives(t *testing.T) {
	virtual(t, func(t *testing.T) {
		h := newHome(t)
		h.share()
		h.control()
		time.Sleep(20 * time.Minute)
		if u, hl := h.user.View().State, h.helper.View().State; u != face.Control || hl != face.Control {
			t.Fatalf("states %s and %s", u, hl)
		}
		h.user.gate.mu.Lock()
		defer h.user.gate.mu.Unlock()
		if !h.user.gate.open {
			t.Error("the gate is shut")
		}
	})
}

// C-06: an interrupted side says goodbye; the other ends in good form.
func TestInterrupted(t *testing.T) {
	for _, who := range []string{face.User, face.Helper} {
		t.Run(who, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				h := newHome(t)
				h.share()
				start := time.Now()
				if who == face.User {
					h.stopUser()
				} else {
					h.stopHelp()
				}
				u, hl := h.ends()
				if who == face.Helper {
					u, hl = hl, u
				}
				if !errors.Is(u, context.Canceled) || hl != nil {
					t.Errorf("interrupted %v, other %v", u, hl)
				}
				if d := time.Since(start); d > 2*time.Second {
					t.Errorf("after %v", d)
				}
			})
		})
	}
}

// Interrupted before anybody came, and before anybody answered.
func TestInterruptedWhileWaiting(t *testing.T) {
	virtual(t, func(t *testing.T) {
		h := newHome(t)
		h.waitUser("an invitation", func(v face.View) bool { return v.Invitation != nil })
		h.stopUser()
		if err := h.result("User", h.userErr); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		got := logged(t, h.user.LogPath())
		if d := cmp.Diff([]string{sessionlog.InvitationOpened, sessionlog.InvitationClosed}, got); d != "" {
			t.Error(d)
		}
	})
}

// a wrong password is one line to the Helper, and a line of the User's
// log; five of them end the invitation.
func TestWrongPassword(t *testing.T) {
	virtual(t, func(t *testing.T) {
		h := newHome(t)
		inv, _ := h.opened()
		for range 5 {
			h.dial(inv, "AAAA-BBBB-CCCC")
			if err := h.result("Helper", h.helperErr); !errors.Is(err, channel.ErrPassword) || err.Error() != "wrong password, or the invitation is no longer valid" {
				t.Fatalf("Helper: %v", err)
			}
			if got := logged(t, h.helper.LogPath()); !slices.Contains(got, sessionlog.WrongPassword) {
				t.Errorf("the Helper's log: %v", got)
			}
			h.helper, h.helperErr = nil, make(chan error, 1)
		}
		err := h.result("User", h.userErr)
		if !errors.Is(err, channel.ErrBurned) {
			t.Fatalf("User: %v", err)
		}
		wrong := sessionlog.WrongPassword
		want := []string{sessionlog.InvitationOpened, wrong, wrong, wrong, wrong, wrong, sessionlog.TooManyWrongPasswords, sessionlog.InvitationClosed}
		if d := cmp.Diff(want, logged(t, h.user.LogPath())); d != "" {
			t.Errorf("the User's log: %s", d)
		}
	})
}

// the User's side ends the invitation when its life is over.
func TestExpired(t *testing.T) {
	t.Parallel()
	h := newHome(t, func(c *UserConfig) { c.Life = time.Second })
	if err := h.result("User", h.userErr); !errors.Is(err, channel.ErrExpired) || err.Error() != "the invitation has expired" {
		t.Fatal(err)
	}
	if got := logged(t, h.user.LogPath()); !slices.Contains(got, sessionlog.InvitationExpired) {
		t.Errorf("log: %v", got)
	}
}

func TestUnreachable(t *testing.T) {
	virtual(t, func(t *testing.T) {
		h := newHome(t)
		inv, password := h.opened()
		h.userNet.vanish()
		h.dial(inv, password)
		if err := h.result("Helper", h.helperErr); !errors.Is(err, channel.ErrUnreachable) {
			t.Fatal(err)
		}
		if got := logged(t, h.helper.LogPath()); !slices.Contains(got, sessionlog.ConnectionFailed) {
			t.Errorf("log: %v", got)
		}
	})
}

// a second Helper with file and password learns that the User is busy;
// the session does not notice.
func TestSecondHelper(t *testing.T) {
	virtual(t, func(t *testing.T) {
		h := newHome(t)
		inv, password := h.opened()
		h.share()
		synctest.Wait()
		before := h.helper.View()
		second, err := NewHelper(HelperConfig{Name: "Eve", Invitation: inv, Password: password, Networks: []Network{h.evesNet}, LogDir: t.TempDir()})
		must(t, err)
		if err := second.Run(context.Background()); !errors.Is(err, ErrBusy) {
			t.Errorf("the second Helper: %v", err)
		}
		if d := cmp.Diff(before, h.helper.View()); d != "" {
			t.Errorf("the first Helper's view changed: %s", d)
		}
		if s := h.user.View().State; s != face.Screen {
			t.Errorf("the User is in %s", s)
		}
		h.waitUser("a word of the second Helper", func(v face.View) bool {
			return slices.ContainsFunc(v.Log, func(e face.Entry) bool { return e.Event == sessionlog.SecondConnectionDenied })
		})
	})
}

// RR-03: a desktop that goes away (its X server was killed) ends the session
// on both sides, before and after consent, and the wait for a Helper.
func TestDesktopEnds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(h *home)
		helper bool
	}{
		{"nobody has come", func(h *home) { h.opened() }, false},
		{"nobody has answered", func(h *home) {
			h.open()
			h.waitUser("the question", func(v face.View) bool { return v.Question != nil })
		}, true},
		{"the screen is shared", func(h *home) { h.share() }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				h := newHome(t)
				tt.before(h)
				h.screen.Close()
				if err := h.result("User", h.userErr); !errors.Is(err, net.ErrClosed) || !strings.HasPrefix(err.Error(), "the desktop is gone: ") {
					t.Errorf("User: %v", err)
				}
				got := logged(t, h.user.LogPath())
				if !slices.Contains(got, sessionlog.ConnectionFailed) || got[len(got)-1] != sessionlog.InvitationClosed {
					t.Errorf("the User's log: %v", got)
				}
				if !tt.helper {
					return
				}
				if err := h.result("Helper", h.helperErr); !errors.Is(err, ErrPeerFailed) {
					t.Errorf("Helper: %v", err)
				}
			})
		})
	}
}

// while paused nothing of the screen leaves; control comes back with it.
func TestPause(t *testing.T) {
	virtual(t, func(t *testing.T) {
		h := newHome(t)
		h.share()
		conn, v := h.viewer()
		updates := make(chan *screen.Frame, 100)
		go func() {
			for {
				ev, err := v.Next()
				if err != nil {
					close(updates)
					return
				}
				if ev == rfb.Updated {
					f := screen.NewFrame(v.Frame().Size)
					copy(f.Pix, v.Frame().Pix)
					updates <- f
				}
			}
		}()
		<-updates
		h.control()
		must(t, h.user.Pause(true))
		h.waitHelper("the pause", func(v face.View) bool { return v.Paused })
		all := image.Rect(0, 0, 320, 200)
		h.screen.Paint(all, func(f *screen.Frame) { f.Fill(all, 0xcafe42) }) // the canary
		_, err := conn.Write(rfb.Input{Kind: rfb.KeyInput, Down: true, Keysym: 'x'}.AppendTo(nil))
		must(t, err)
		time.Sleep(200 * time.Millisecond)
		h.screen.Paint(all, func(f *screen.Frame) { f.Fill(all, 0x112233) })
		must(t, h.user.Pause(false))
		h.waitHelper("the end of the pause", func(v face.View) bool { return !v.Paused })
		waitFor(t, "input after the pause", func() bool {
			_, err := conn.Write(rfb.Input{Kind: rfb.KeyInput, Down: true, Keysym: 'y'}.AppendTo(nil))
			must(t, err)
			ev, _ := h.inj.seen()
			return len(ev) > 0
		})
		if ev, _ := h.inj.seen(); ev[0].Keysym != 'y' {
			t.Errorf("input made during the pause was injected: %+v", ev)
		}
		waitFor(t, "the picture after the pause", func() bool {
			f := <-updates
			if bytes.Contains(f.Pix, []byte{0x42, 0xfe, 0xca}) {
				t.Fatal("the canary was seen")
			}
			return bytes.HasPrefix(f.Pix, []byte{0x33, 0x22, 0x11})
		})
		must(t, h.user.Stop())
		h.ends()
		for range updates {
		}
	})
}

// RR-06: a session lives without its log, and its face says so.
func TestNoLog(t *testing.T) {
	virtual(t, func(t *testing.T) {
		file := t.TempDir() + "/file"
		must(t, os.WriteFile(file, nil, 0o600))
		h := newHome(t, func(c *UserConfig) { c.LogDir = file })
		h.share()
		v := h.user.View()
		if len(v.Log) == 0 || v.Log[0].Event != sessionlog.SessionLogFailed {
			t.Errorf("the User is not told: %+v", v.Log)
		}
	})
}

// A slip in the file name does not cost a file.
func TestInvitationReplacesInvitationsOnly(t *testing.T) {
	virtual(t, func(t *testing.T) {
		h := newHome(t)
		h.opened()
		must(t, h.user.Stop())
		if err := h.result("User", h.userErr); err != nil {
			t.Fatal(err)
		}
		name := h.user.conf.File
		again, err := NewUser(h.user.conf)
		must(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- again.Run(ctx) }()
		h.waitView("a second invitation", again, func(v face.View) bool { return v.Invitation != nil })
		cancel()
		<-ended

		must(t, os.WriteFile(name, []byte("my thesis"), 0o600))
		third, err := NewUser(h.user.conf)
		must(t, err)
		if err := third.Run(context.Background()); !errors.Is(err, ErrInUse) {
			t.Errorf("got %v", err)
		}
		if b, _ := os.ReadFile(name); string(b) != "my thesis" {
			t.Error("the file is gone")
		}
	})
}

// A Helper whose input stream has failed gives back what he cannot use.
func TestControlWithoutInput(t *testing.T) {
	virtual(t, func(t *testing.T) {
		h := newHome(t)
		h.share()
		conn, _ := h.viewer()
		h.control()
		h.helper.input.Lock()
		h.helper.dead = true
		h.helper.input.Unlock()
		key := rfb.Input{Kind: rfb.KeyInput, Down: true, Keysym: 'a'}
		_, err := conn.Write(key.AppendTo(nil))
		must(t, err)
		h.waitUser("the end of control", in(face.Screen))
		if ev, _ := h.inj.seen(); len(ev) != 0 {
			t.Errorf("injected %v", ev)
		}
	})
}

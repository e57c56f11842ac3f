package session

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"shipworm/ra/face"
	"shipworm/ra/sessionlog"
)

// The whole course in the words of the source, on both sides.
func TestCourseOfASession(t *testing.T) {
	p := newPair(Config{})
	p.reach(t, Control)
	for _, r := range clients {
		p.must(t, r, func(m *Machine, now time.Time, out *Output) error {
			return m.Chat(now, "hi\x1b[2J from "+r.String(), out)
		})
	}
	p.settle(t)
	p.must(t, User, (*Machine).Esc)
	p.settle(t)
	p.must(t, Helper, (*Machine).Stop)
	p.settle(t)

	want := []string{
		sessionlog.IncomingIPAddress, sessionlog.ViewGranted, sessionlog.ConnectionEstablished,
		sessionlog.ExpertRequestControl, sessionlog.ExpertGrantedControl, sessionlog.ExpertControlStarted,
		sessionlog.ChatMessage, sessionlog.ChatMessage, sessionlog.ExpertControlEnded, sessionlog.ConnectionEnded,
	}
	for _, r := range clients {
		if d := cmp.Diff(want, events(p.log[r])); d != "" {
			t.Errorf("%v's log: %s", r, d)
		}
		v := p.m[r].View()
		if v.State != face.Ended || v.End == nil || !v.End.Clean {
			t.Errorf("%v ends in %+v", r, v)
		}
	}
	if got := p.log[User][7].Text; got != "Helper Bob: hi[2J from helper" && p.log[User][6].Text != "Helper Bob: hi[2J from helper" {
		t.Errorf("chat in the log: %q", got)
	}
	if got := p.m[Helper].End().Reason; got != "you ended the session" {
		t.Errorf("the Helper reads %q", got)
	}
	if got := p.m[User].End().Reason; got != "the Helper ended the session" {
		t.Errorf("the User reads %q", got)
	}
}

// refusal and silence both mean No, to view and to control.
func TestConsentRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		no   func(t *testing.T, p *pair)
		user string
		help string
	}{
		{"said No", func(t *testing.T, p *pair) { p.answer(t, false) },
			"consent refused: you said No", "consent refused: the User said No"},
		{"said nothing", func(t *testing.T, p *pair) { p.advance(t, 60*time.Second) },
			"consent refused: nobody answered in time", "consent refused: the User did not answer in time"},
	} {
		t.Run("view "+tt.name, func(t *testing.T) {
			p := newPair(Config{})
			p.reach(t, Waiting)
			question(t, p, face.AskView)
			tt.no(t, p)
			if u, h := p.m[User].End(), p.m[Helper].End(); u == nil || h == nil || u.Reason != tt.user || h.Reason != tt.help || h.Clean {
				t.Errorf("ends: %+v and %+v", u, h)
			}
			for _, r := range clients {
				if got := events(p.log[r]); got[1] != sessionlog.ViewRefused || len(got) != 3 {
					t.Errorf("%v's log: %v", r, got)
				}
			}
		})
		t.Run("control "+tt.name, func(t *testing.T) {
			p := newPair(Config{})
			p.reach(t, Screen)
			p.must(t, Helper, (*Machine).RequestControl)
			p.settle(t)
			if !p.m[Helper].View().Requested {
				t.Error("the Helper does not see that he asked")
			}
			question(t, p, face.AskControl)
			tt.no(t, p)
			if p.m[User].State() != Screen || p.m[Helper].State() != Screen || p.m[Helper].View().Requested {
				t.Errorf("states %v, %v", p.m[User].State(), p.m[Helper].State())
			}
		})
	}
}

// the deadline holds though no Tick came in time.
func TestLateYes(t *testing.T) {
	p := newPair(Config{})
	p.reach(t, Waiting)
	q := question(t, p, face.AskView)
	p.now = q.Deadline
	if err := p.do(User, func(m *Machine, now time.Time, out *Output) error { return m.Answer(now, q.ID, true, out) }); !errors.Is(err, face.ErrNotAllowed) {
		t.Error(err)
	}
	if p.m[User].State() != Ended {
		t.Errorf("state %v", p.m[User].State())
	}
}

// a question is answered once, by its number.
func TestAnswerNamesItsQuestion(t *testing.T) {
	p := newPair(Config{})
	p.reach(t, Waiting)
	q := question(t, p, face.AskView)
	for _, id := range []uint64{0, q.ID + 1} {
		if err := p.do(User, func(m *Machine, now time.Time, out *Output) error { return m.Answer(now, id, true, out) }); !errors.Is(err, face.ErrNotAllowed) {
			t.Errorf("question %d was answered: %v", id, err)
		}
	}
	p.answer(t, true)
	if err := p.do(User, func(m *Machine, now time.Time, out *Output) error { return m.Answer(now, q.ID, true, out) }); !errors.Is(err, face.ErrNotAllowed) {
		t.Errorf("answered twice: %v", err)
	}
	if err := p.do(Helper, func(m *Machine, now time.Time, out *Output) error { return m.Answer(now, q.ID, true, out) }); !errors.Is(err, face.ErrNotAllowed) {
		t.Errorf("the Helper answered: %v", err)
	}
}

// the name is shown as not verified and cannot break out of its place,
// the warning stands in every question, and a Yes to control counts after 2 s.
func TestQuestionsResistScams(t *testing.T) {
	p := newPair(Config{Notice: "Ask the help desk: 1234."})
	p.m[Helper].conf.Name = "Bank\" (verified)\n\u202Ex"
	p.reach(t, Screen)
	p.must(t, Helper, (*Machine).RequestControl)
	p.settle(t)
	q := question(t, p, face.AskControl)
	if want := `Allow "Bank\" (verified) x" (not verified) at [2001:db8::2]:50001 to use your mouse and keyboard?`; q.Text != want {
		t.Errorf("text %s\nwant %s", q.Text, want)
	}
	if q.Warning != Warning+"\nAsk the help desk: 1234." || !strings.Contains(Warning, "bank") || !strings.Contains(Warning, `"support"`) {
		t.Errorf("warning %q", q.Warning)
	}
	yes := func(m *Machine, now time.Time, out *Output) error { return m.Answer(now, q.ID, true, out) }
	p.now = p.now.Add(2*time.Second - 1)
	if err := p.do(User, yes); !errors.Is(err, ErrTooEarly) || p.m[User].State() != Screen {
		t.Errorf("a Yes too early: %v, %v", err, p.m[User].State())
	}
	p.now = p.now.Add(1)
	p.must(t, User, yes)
	if p.m[User].State() != Control {
		t.Errorf("state %v", p.m[User].State())
	}
}

// control lapses after 30 minutes, however busy the session is.
func TestControlLapses(t *testing.T) {
	p := newPair(Config{})
	p.reach(t, Control)
	p.advance(t, 30*time.Minute-time.Millisecond)
	if _, open := p.m[User].Gate(); !open || p.m[Helper].State() != Control {
		t.Fatal("control ended early")
	}
	p.advance(t, time.Millisecond)
	if _, open := p.m[User].Gate(); open || p.m[User].State() != Screen || p.m[Helper].State() != Screen {
		t.Error("control did not lapse")
	}
	if got := p.m[Helper].View().Log; got[len(got)-1].Text != endedText(Lapsed) {
		t.Errorf("the Helper reads %q", got[len(got)-1].Text)
	}
}

// a Helper cannot wear the User down: asking right after a No is refused unasked.
func TestAskingAgain(t *testing.T) {
	p := newPair(Config{})
	p.reach(t, Screen)
	ask := func() { p.must(t, Helper, (*Machine).RequestControl); p.settle(t) }
	ask()
	p.answer(t, false)
	p.advance(t, 9*time.Second)
	ask()
	if p.m[User].View().Question != nil || p.m[Helper].View().Requested {
		t.Fatal("the User was asked again")
	}
	p.advance(t, time.Second)
	ask()
	question(t, p, face.AskControl)
}

// the gate is closed while paused, and what was made before the
// pause is worthless after it.
func TestPauseBeginsANewEpoch(t *testing.T) {
	p := newPair(Config{})
	p.reach(t, Control)
	before, _ := p.m[Helper].Input()
	if e, open := p.m[User].Gate(); !open || e != before {
		t.Fatalf("gate %d %v, Helper's epoch %d", e, open, before)
	}
	pause := func(on bool) {
		p.must(t, User, func(m *Machine, now time.Time, out *Output) error { return m.Pause(now, on, out) })
	}
	pause(true)
	if _, open := p.m[User].Gate(); open {
		t.Error("the gate is open while paused")
	}
	p.settle(t)
	if _, ok := p.m[Helper].Input(); ok || !p.m[Helper].View().Paused {
		t.Error("the Helper does not know of the pause")
	}
	pause(false)
	if e, open := p.m[User].Gate(); !open || e == before {
		t.Errorf("after the pause: epoch %d, open %v", e, open)
	}
	p.settle(t)
	after, ok := p.m[Helper].Input()
	if e, _ := p.m[User].Gate(); !ok || after != e {
		t.Errorf("the Helper has epoch %d, the User %d", after, e)
	}
}

// RR-01: the gate closes after 5 s of silence, and opens under a new epoch
// once the Helper is heard again.
func TestSilenceClosesTheGate(t *testing.T) {
	p := newPair(Config{})
	p.reach(t, Control)
	before, _ := p.m[User].Gate()
	tick := func(d time.Duration) { // the User's clock alone: the Helper is cut off
		p.now = p.now.Add(d)
		p.do(User, func(m *Machine, now time.Time, out *Output) error { m.Tick(now, out); return nil })
	}
	tick(5*time.Second - 1)
	if _, open := p.m[User].Gate(); !open {
		t.Fatal("the gate closed early")
	}
	tick(1)
	if _, open := p.m[User].Gate(); open {
		t.Fatal("the gate is open after 5 s of silence")
	}
	p.must(t, User, func(m *Machine, now time.Time, out *Output) error { m.Heard(now, out); return nil })
	if e, open := p.m[User].Gate(); !open || e == before {
		t.Errorf("after the silence: epoch %d, open %v", e, open)
	}
	p.settle(t)
	if e, _ := p.m[User].Gate(); p.m[Helper].helper.epoch != e {
		t.Error("the Helper does not know the new epoch")
	}
}

// RR-01: a peer that is silent for 15 s is lost, on either side and in every
// state, and the log says so.
func TestSilenceEndsTheSession(t *testing.T) {
	for _, s := range []State{Waiting, Screen, Control} {
		for _, r := range clients {
			t.Run(r.String()+" in "+s.String(), func(t *testing.T) {
				p := newPair(Config{})
				p.reach(t, s)
				for start := p.now; p.m[r].State() != Ended; {
					p.now = p.m[r].Next()
					if p.now.Sub(start) > 15*time.Second {
						t.Fatalf("still %v after %v", p.m[r].State(), p.now.Sub(start))
					}
					p.do(r, func(m *Machine, now time.Time, out *Output) error { m.Tick(now, out); return nil })
				}
				if e := p.m[r].End(); !e.Lost || e.Clean || e.Reason != "connection lost" {
					t.Errorf("end %+v", e)
				}
				got := events(p.log[r])
				if got[len(got)-1] != sessionlog.ConnectionLost || s == Control && got[len(got)-2] != sessionlog.ExpertControlEnded {
					t.Errorf("log %v", got)
				}
				if !p.m[r].Next().IsZero() {
					t.Error("something is due after the end")
				}
			})
		}
	}
}

// A peer that connects and says nothing is lost, however alive its connection.
func TestSilentFromTheStart(t *testing.T) {
	for _, m := range []*Machine{NewUser(Config{}), NewHelper(Config{})} {
		t.Run(m.Role().String(), func(t *testing.T) {
			var out Output
			start := time.Unix(1e9, 0)
			if err := m.Connected(start, netip.MustParseAddrPort("[2001:db8::1]:1"), &out); err != nil {
				t.Fatal(err)
			}
			for s := range 16 {
				now := start.Add(time.Duration(s) * time.Second)
				m.Heard(now, &out)
				m.Tick(now, &out)
				if ended := m.State() == Ended; ended != (s == 15) {
					t.Fatalf("after %d s: %v", s, m.State())
				}
			}
			if e := m.End(); !e.Lost {
				t.Errorf("end %+v", e)
			}
		})
	}
}

// RR-01, RR-10: an idle session stays up, with a heartbeat of each side every
// 5 s and no more.
func TestIdleSession(t *testing.T) {
	p := newPair(Config{})
	p.reach(t, Screen)
	sent := 0
	for end := p.now.Add(time.Hour); p.now.Before(end); {
		p.now = p.m[User].Next()
		if n := p.m[Helper].Next(); n.Before(p.now) {
			p.now = n
		}
		for _, r := range clients {
			p.do(r, func(m *Machine, now time.Time, out *Output) error { m.Tick(now, out); return nil })
		}
		sent += len(p.wire[User]) + len(p.wire[Helper])
		p.settle(t)
	}
	if p.m[User].State() != Screen || p.m[Helper].State() != Screen {
		t.Fatal("the session ended")
	}
	if sent > 2*3600/5+2 {
		t.Errorf("%d messages in an hour", sent)
	}
}

// Both give up control at the same moment, or one ends it while the other
// acts: no honest message is a breach.
func TestCrossingMessages(t *testing.T) {
	esc := func(p *pair) error { return p.do(User, (*Machine).Esc) }
	pause := func(on bool) func(p *pair) error {
		return func(p *pair) error {
			return p.do(User, func(m *Machine, now time.Time, out *Output) error { return m.Pause(now, on, out) })
		}
	}
	for name, acts := range map[string][]func(p *pair) error{
		"release and esc":        {func(p *pair) error { return p.do(Helper, (*Machine).ReleaseControl) }, esc},
		"esc and release":        {esc, func(p *pair) error { return p.do(Helper, (*Machine).ReleaseControl) }},
		"release, pause, resume": {func(p *pair) error { return p.do(Helper, (*Machine).ReleaseControl) }, pause(true), pause(false)},
		"both stop":              {func(p *pair) error { return p.do(Helper, (*Machine).Stop) }, func(p *pair) error { return p.do(User, (*Machine).Stop) }},
		"take back and release":  {func(p *pair) error { return p.do(User, (*Machine).ReleaseControl) }, func(p *pair) error { return p.do(Helper, (*Machine).ReleaseControl) }},
		"chat while the end comes": {func(p *pair) error { return p.do(User, (*Machine).Stop) }, func(p *pair) error {
			return p.do(Helper, func(m *Machine, now time.Time, out *Output) error { return m.Chat(now, "x", out) })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(Config{})
			p.reach(t, Control)
			for _, act := range acts {
				if err := act(p); err != nil {
					t.Fatal(err)
				}
			}
			p.settle(t)
			if u, h := p.m[User].State(), p.m[Helper].State(); u != h {
				t.Fatalf("states %v and %v", u, h)
			}
			if p.m[User].State() != Screen {
				return
			}
			p.must(t, Helper, (*Machine).RequestControl)
			p.settle(t)
			p.answer(t, true)
			u, _ := p.m[User].Gate()
			if h, ok := p.m[Helper].Input(); !ok || h != u {
				t.Errorf("after a new grant: epochs %d and %d", u, h)
			}
		})
	}
}

// there is one version.
func TestOtherVersion(t *testing.T) {
	p := newPair(Config{})
	p.must(t, User, func(m *Machine, now time.Time, out *Output) error { return m.Connected(now, helpAt, out) })
	err := p.do(User, func(m *Machine, now time.Time, out *Output) error {
		return m.Receive(now, Message{Type: Hello, Version: 2}, out)
	})
	if !errors.Is(err, ErrProtocol) || p.m[User].State() != Ended || p.wire[Helper][1] != (Message{Type: Bye, Code: ByeVersion}) {
		t.Errorf("%v, %v, sent %+v", err, p.m[User].End(), p.wire[Helper])
	}
}

// A view is a snapshot: what happens later does not show in it.
func TestViewIsASnapshot(t *testing.T) {
	p := newPair(Config{})
	p.reach(t, Screen)
	v := p.m[User].View()
	before := append([]face.Entry(nil), v.Log...)
	for range 3 * MaxEntries {
		p.must(t, User, func(m *Machine, now time.Time, out *Output) error { return m.Chat(now, "x", out) })
	}
	if d := cmp.Diff(before, v.Log); d != "" {
		t.Error(d)
	}
	now := p.m[User].View()
	if now.Version <= v.Version || len(now.Log) < MaxEntries || len(now.Log) > 2*MaxEntries {
		t.Errorf("version %d after %d, %d entries", now.Version, v.Version, len(now.Log))
	}
}

func TestChatIsBounded(t *testing.T) {
	p := newPair(Config{})
	p.reach(t, Screen)
	chat := func(s string) error {
		return p.do(User, func(m *Machine, now time.Time, out *Output) error { return m.Chat(now, s, out) })
	}
	if err := chat(strings.Repeat("a", 4097)); err == nil {
		t.Error("a long line was sent")
	}
	if err := chat("\x1b\x00"); err != nil || len(p.wire[Helper]) > 0 {
		t.Errorf("an empty line was sent: %v", err)
	}
}

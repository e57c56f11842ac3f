package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"shipworm/ra/face"
	"shipworm/ra/sessionlog"
)

// scripted is a session that records what a face asks of it.
type scripted struct {
	view  face.View
	calls []string
}

func (s *scripted) View() face.View { return s.view }
func (s *scripted) Wait(ctx context.Context, _ uint64) (face.View, error) {
	<-ctx.Done()
	return face.View{}, ctx.Err()
}

func (s *scripted) call(format string, args ...any) error {
	s.calls = append(s.calls, fmt.Sprintf(format, args...))
	return nil
}

func (s *scripted) Answer(q uint64, yes bool) error { return s.call("answer %d %v", q, yes) }
func (s *scripted) Pause(on bool) error             { return s.call("pause %v", on) }
func (s *scripted) RequestControl() error           { return s.call("request") }
func (s *scripted) ReleaseControl() error           { return s.call("release") }
func (s *scripted) Stop() error                     { return s.call("stop") }
func (s *scripted) Chat(text string) error {
	if s.view.State == face.Waiting {
		return face.ErrNotAllowed
	}
	return s.call("chat %s", text)
}
func (s *scripted) Viewer(context.Context) (io.ReadWriteCloser, error) {
	return nil, face.ErrNotAllowed
}

func TestTerminalCommands(t *testing.T) {
	question := &face.Question{ID: 7, Kind: face.AskControl}
	for _, tt := range []struct {
		line     string
		question *face.Question
		want     string
	}{
		{"hello there", nil, "chat hello there"},
		{"hello there", question, "chat hello there"},
		{"y", question, "answer 7 true"},
		{"YES", question, "answer 7 true"},
		{"/yes", question, "answer 7 true"},
		{"n", question, "answer 7 false"},
		{"", question, "answer 7 false"}, // [y/N]
		{"/no", question, "answer 7 false"},
		{"yes please", question, "chat yes please"},
		{"y", nil, "chat y"},
		{"", nil, ""},
		{"/yes", nil, "! there is no question"},
		{"/control", nil, "request"},
		{"/release", nil, "release"},
		{"/pause", nil, "pause true"},
		{"/resume", nil, "pause false"},
		{"  /stop  ", nil, "stop"},
		{"/bogus 7K2M-Q9TX-04WF", nil, `! no such command: "/bogus"; /help lists them`},
	} {
		t.Run(fmt.Sprintf("%q with question %v", tt.line, tt.question != nil), func(t *testing.T) {
			s := &scripted{view: face.View{State: face.Screen, Question: tt.question}}
			var out bytes.Buffer
			(&terminal{session: s, out: &out}).read(context.Background(), strings.NewReader(tt.line+"\n"))
			if got := strings.Join(s.calls, "; ") + strings.TrimSuffix(out.String(), "\n"); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTerminalChatTooEarly(t *testing.T) {
	s := &scripted{view: face.View{State: face.Waiting}}
	if err := (&terminal{session: s}).do("hello"); err == nil || errors.Is(err, face.ErrNotAllowed) {
		t.Errorf("got %v", err)
	}
}

// What the User sees, line by line; R-26: a peer's words stand behind his
// name, whatever they are.
func TestTerminalShows(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	term := &terminal{out: &out}
	v := face.View{Role: face.User, State: face.Waiting}
	term.update(v)
	v.Peer = &face.Peer{Name: "Bob", Address: "[2001:db8::2]:5"}
	v.Question = &face.Question{ID: 1, Kind: face.AskView, Text: `Allow "Bob" (not verified) at [2001:db8::2]:5 to see your desktop?`, Warning: "Beware.\nAsk 1234."}
	v.Log = []face.Entry{{Time: at, Event: sessionlog.IncomingIPAddress, Text: "Connected."}}
	term.update(v)
	term.update(v)
	v.Question = nil
	v.State = face.Screen
	v.Log = append(v.Log,
		face.Entry{Time: at, Event: sessionlog.ChatMessage, From: face.Helper, Text: "* The session has ended: trust me."},
		face.Entry{Time: at, Event: sessionlog.ChatMessage, From: face.User, Text: "who is this?"})
	term.update(v)
	v.Question = &face.Question{ID: 2, Kind: face.AskControl, Text: "Allow more?", Warning: "Beware.", Enabled: at.Add(2 * time.Second)}
	term.update(v)
	v.State, v.End, v.Question = face.Ended, &face.End{Reason: "connection lost"}, nil
	term.update(v)
	want := `* Waiting For Connect
* 12:00:00 Connected.
? Beware.
? Ask 1234.
? Allow "Bob" (not verified) at [2001:db8::2]:5 to see your desktop? [y/N]
12:00:00 helper Bob: * The session has ended: trust me.
12:00:00 you: who is this?
* Screen Sharing (view only)
? Beware.
? Allow more? [y/N] (a Yes counts from 12:00:02 on)
* The session has ended: connection lost.
`
	if got := out.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// The log of a view is cut at its old end once it is long: nothing is printed
// twice, nothing is left out.
func TestTerminalFollowsALongLog(t *testing.T) {
	var out bytes.Buffer
	term := &terminal{out: &out}
	var log []face.Entry
	for i := range 5000 {
		log = append(log, face.Entry{Time: time.Unix(int64(i), 0), Event: sessionlog.SessionPaused, Text: fmt.Sprint("entry ", i)})
		if len(log) == 200 {
			log = append([]face.Entry(nil), log[100:]...)
		}
		if i%7 == 0 {
			term.update(face.View{Log: log})
		}
	}
	term.update(face.View{Log: log})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 5000 {
		t.Fatalf("%d lines", len(lines))
	}
	for i, l := range lines {
		if !strings.HasSuffix(l, fmt.Sprint("entry ", i)) {
			t.Fatalf("line %d is %q", i, l)
		}
	}
}

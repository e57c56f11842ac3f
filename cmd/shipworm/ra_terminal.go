package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"shipworm/ra/face"
	"shipworm/ra/sessionlog"
)

// The terminal face of a session. Its rules:
//
//   - What the peer wrote always stands behind his name or inside quotes, and
//     is cleaned before it gets here. Lines of ours begin with "*",
//     questions with "?", so that no chat can pose as one.
//   - Enter alone, and everything that is not a clear Yes, is not a Yes.
//   - No colour, no cursor movement: it reads the same in a pipe.
type terminal struct {
	session face.Session
	out     io.Writer
	show    func(face.View, io.Writer) // prints what only one role has, once
	url     func() string              // mints an address of the web page; nil without one

	mu      sync.Mutex // guards writing to out, and what follows
	shown   int        // entries of the log printed so far
	last    face.Entry // the newest of them
	state   string
	asked   uint64 // question printed last
	dialled bool
	ended   bool
}

// print follows the session until ctx ends, and then shows what is left.
func (t *terminal) print(ctx context.Context) {
	v := t.session.View()
	for {
		t.update(v)
		next, err := t.session.Wait(ctx, v.Version)
		if err != nil {
			t.update(t.session.View())
			return
		}
		v = next
	}
}

func (t *terminal) update(v face.View) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.show != nil {
		t.show(v, t.out)
	}
	if !t.dialled && len(v.Dialing) > 0 {
		t.dialled = true
		for _, c := range v.Dialing {
			t.line("* Dialling %s %s", c.Kind, c.Address)
		}
	}
	for _, e := range t.news(v.Log) {
		t.line("%s", entryLine(v, e))
	}
	if v.State != t.state {
		t.state = v.State
		if s := stateLine(v); s != "" {
			t.line("%s", s)
		}
	}
	if q := v.Question; q != nil && q.ID != t.asked {
		t.asked = q.ID
		for line := range strings.SplitSeq(q.Warning, "\n") {
			t.line("? %s", line)
		}
		late := ""
		if q.Kind == face.AskControl {
			late = fmt.Sprintf(" (a Yes counts from %s on)", q.Enabled.Format("15:04:05"))
		}
		t.line("? %s [y/N]%s", q.Text, late)
	}
	if v.End != nil && !t.ended {
		t.ended = true
		t.line("* The session has ended: %s.", v.End.Reason)
	}
}

// news returns the entries that were not printed yet. The log of a view is
// cut at its old end once it is long, so it is searched from the new end.
func (t *terminal) news(log []face.Entry) []face.Entry {
	if t.shown > 0 {
		for i := len(log); i > 0; i-- {
			if log[i-1] == t.last {
				log = log[i:]
				break
			}
		}
	}
	if len(log) > 0 {
		t.shown += len(log)
		t.last = log[len(log)-1]
	}
	return log
}

func (t *terminal) line(format string, args ...any) { fmt.Fprintf(t.out, format+"\n", args...) }

func entryLine(v face.View, e face.Entry) string {
	at := e.Time.Format("15:04:05")
	if e.Event != sessionlog.ChatMessage {
		return fmt.Sprintf("* %s %s", at, e.Text)
	}
	who := "you"
	if e.From != v.Role {
		who = e.From
		if v.Peer != nil {
			who += " " + v.Peer.Name
		}
	}
	return fmt.Sprintf("%s %s: %s", at, who, e.Text)
}

func stateLine(v face.View) string {
	switch v.State {
	case face.Waiting:
		if v.Role == face.User {
			return "* Waiting For Connect"
		}
		return "* Connected; waiting for the user's consent"
	case face.Screen:
		return "* Screen Sharing (view only)"
	case face.Control:
		return "* Control Sharing"
	}
	return ""
}

const terminalHelp = `* A line is sent as chat. Commands:
*   /yes /no      answer an open question (y or n alone do, too)
*   /control      ask the user for control          (helper)
*   /release      give up control, or take it back
*   /pause /resume  hide the screen, show it again  (user)
*   /url          a new address of the web page: each opens it once, within 30 s
*   /stop         end the session
*   /help         this list`

// read takes commands and chat from r until it ends, which does not end the
// session.
func (t *terminal) read(ctx context.Context, r io.Reader) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 64<<10)
	for s.Scan() && ctx.Err() == nil {
		if err := t.do(strings.TrimSpace(s.Text())); err != nil {
			t.mu.Lock()
			t.line("! %v", err)
			t.mu.Unlock()
		}
	}
}

func (t *terminal) do(line string) error {
	q := t.session.View().Question
	switch word := strings.ToLower(line); word {
	case "/yes", "/no":
		return t.answer(q, word == "/yes")
	case "y", "yes", "n", "no", "":
		if q != nil {
			return t.answer(q, word == "y" || word == "yes")
		}
		if line == "" {
			return nil
		}
		return t.chat(line)
	case "/control":
		return t.session.RequestControl()
	case "/release":
		return t.session.ReleaseControl()
	case "/pause":
		return t.session.Pause(true)
	case "/resume":
		return t.session.Pause(false)
	case "/stop", "/quit":
		return t.session.Stop()
	case "/url":
		if t.url == nil {
			return errors.New("this session has no web page")
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.line("* %s", t.url())
		return nil
	case "/help":
		t.mu.Lock()
		defer t.mu.Unlock()
		t.line("%s", terminalHelp)
		return nil
	}
	if strings.HasPrefix(line, "/") {
		word, _, _ := strings.Cut(line, " ")
		return fmt.Errorf("no such command: %.20q; /help lists them", word)
	}
	return t.chat(line)
}

func (t *terminal) answer(q *face.Question, yes bool) error {
	if q == nil {
		return errors.New("there is no question")
	}
	return t.session.Answer(q.ID, yes)
}

func (t *terminal) chat(line string) error {
	err := t.session.Chat(line)
	if errors.Is(err, face.ErrNotAllowed) {
		return errors.New("there is nobody to talk to yet")
	}
	return err
}

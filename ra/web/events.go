package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"shipworm/ra/face"
)

const (
	maxCommand   = 16 << 10              // bytes of a message from the page
	maxChat      = 4096                  // bytes of a chat line
	pushInterval = 50 * time.Millisecond // at most 20 pushes a second
	writeTimeout = 10 * time.Second      // a page that reads nothing is gone
)

// A push is one message to the page: a view, or the result of a command.
type push struct {
	Type  string     `json:"type"` // "view" or "result"
	Now   *time.Time `json:"now,omitempty"`
	View  *face.View `json:"view,omitempty"`
	ID    uint64     `json:"id,omitempty"`    // of the command
	Error string     `json:"error,omitempty"` // "" = done
}

// A command is one message from the page.
type command struct {
	ID       uint64 `json:"id"`
	Do       string `json:"do"` // answer, pause, request, release, chat, stop
	Question uint64 `json:"question"`
	Yes      bool   `json:"yes"`
	Paused   bool   `json:"paused"`
	Text     string `json:"text"`
}

var errCommand = errors.New("no such command")

// serveEvents pushes every change of the view and takes commands. Changes that
// come faster than pushInterval are merged: the newest view wins.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request) {
	conn, done := s.upgrade(w, r, &s.events, maxEvents, maxCommand)
	if conn == nil {
		return
	}
	defer done()
	// A cancelled context makes the library drop the connection, so the
	// connection has one of its own, and the end of the server is told first.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	pushed := make(chan struct{})
	wait, stopWaiting := context.WithCancel(r.Context())
	go func() {
		defer close(pushed)
		s.pushViews(ctx, wait, conn)
		s.bye(conn, cancel, websocket.StatusGoingAway, "shipworm is closing")
	}()
	s.takeCommands(ctx, conn)
	stopWaiting()
	<-pushed
}

func (s *Server) pushViews(ctx, wait context.Context, conn *websocket.Conn) {
	v := s.session.View()
	for {
		if err := s.write(ctx, conn, push{Type: "view", View: &v}, writeTimeout); err != nil {
			return
		}
		next, err := s.next(wait, v)
		if err != nil {
			break
		}
		v = next
	}
	if last := s.session.View(); last.Version > v.Version {
		s.write(ctx, conn, push{Type: "view", View: &last}, s.farewell)
	}
}

// next waits for what is to be pushed after shown, which was pushed just now:
// changes are merged for pushInterval. A new state does not wait, since the
// picture waits for it; states change no faster than people consent.
func (s *Server) next(wait context.Context, shown face.View) (face.View, error) {
	soon, cancel := context.WithTimeout(wait, pushInterval)
	defer cancel()
	for seen := shown.Version; ; {
		v, err := s.session.Wait(soon, seen)
		if err != nil {
			break // the time is up, or the server's
		}
		if v.State != shown.State {
			return v, nil
		}
		seen = v.Version
	}
	return s.session.Wait(wait, shown.Version)
}

// bye closes in good form, but waits for the browser no longer than s.farewell:
// cancel must end the context of a read in progress, which is what makes the
// library let go.
func (s *Server) bye(conn *websocket.Conn, cancel func(), code websocket.StatusCode, why string) {
	t := time.AfterFunc(s.farewell, cancel)
	defer t.Stop()
	conn.Close(code, why)
	cancel()
}

func (s *Server) takeCommands(ctx context.Context, conn *websocket.Conn) {
	for {
		_, msg, err := conn.Read(ctx)
		if err != nil {
			return
		}
		var c command
		res := push{Type: "result"}
		if err = json.Unmarshal(msg, &c); err == nil {
			res.ID = c.ID
			err = s.do(c)
		}
		if err != nil {
			res.Error = err.Error()
		}
		if s.write(ctx, conn, res, writeTimeout) != nil {
			return
		}
	}
}

func (s *Server) write(ctx context.Context, conn *websocket.Conn, p push, d time.Duration) error {
	if p.View != nil {
		now := s.now()
		p.Now = &now
	}
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return conn.Write(ctx, websocket.MessageText, b)
}

// do carries out one command of the page.
func (s *Server) do(c command) error {
	switch c.Do {
	case "answer":
		// While the Helper drives this desktop, a click on Yes may be his
		// . The session asks nothing then; this holds even if it does.
		if v := s.session.View(); c.Yes && v.State == face.Control {
			return fmt.Errorf("consent while control is shared: %w", face.ErrNotAllowed)
		}
		return s.session.Answer(c.Question, c.Yes)
	case "pause":
		return s.session.Pause(c.Paused)
	case "request":
		return s.session.RequestControl()
	case "release":
		return s.session.ReleaseControl()
	case "chat":
		if c.Text == "" || len(c.Text) > maxChat {
			return fmt.Errorf("a message has 1 to %d bytes, this one %d", maxChat, len(c.Text))
		}
		return s.session.Chat(c.Text)
	case "stop":
		return s.session.Stop()
	}
	return errCommand
}

// upgrade admits and accepts a WebSocket, or answers and returns nil. The
// guard has compared Host and Origin before. done must be called.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request, open *atomic.Int32, limit int32, read int64) (conn *websocket.Conn, done func()) {
	if !s.admitted(r, keyOf(r)) {
		s.refuse(w, http.StatusUnauthorized, "not logged in")
		return nil, nil
	}
	if open.Add(1) > limit {
		open.Add(-1)
		s.refuse(w, http.StatusServiceUnavailable, "too many pages are open")
		return nil, nil
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol}})
	if err != nil { // Accept has answered
		open.Add(-1)
		return nil, nil
	}
	conn.SetReadLimit(read)
	return conn, func() {
		conn.CloseNow()
		open.Add(-1)
	}
}

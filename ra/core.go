package ra

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"shipworm/ra/face"
	"shipworm/ra/session"
	"shipworm/ra/sessionlog"
)

// maxQueue bounds the messages that wait for the control stream. It is full
// only where the peer has read nothing for a long time.
const maxQueue = 1024

// errStuck reports that maxQueue was reached.
var errStuck = errors.New("the other side does not read any more")

// core is what both roles have: the machine behind one lock, the log behind
// it, and the face before it. It implements face.Session but for Viewer.
type core struct {
	logger *slog.Logger
	logDir string

	mu      sync.Mutex // guards what follows
	m       *session.Machine
	out     session.Output
	log     *sessionlog.Log // nil: none could be made, or it has failed
	logPath string
	queue   []session.Message
	view    face.View
	changed chan struct{} // closed when the view changes
	follow  func()        // sets the gates after the machine; called under mu
	cause   error         // what ended the session from outside of it

	wake  chan struct{} // something is queued, or the session has ended
	ended chan struct{} // closed when the session has ended
}

func newCore(m *session.Machine, logDir string, logger *slog.Logger) *core {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &core{
		logger: logger, logDir: logDir, m: m,
		view: m.View(), changed: make(chan struct{}), follow: func() {},
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
}

// do lets f act on the machine and carries out what it made due.
func (c *core) do(f func(now time.Time, out *session.Output) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := f(time.Now(), &c.out)
	c.settle()
	return err
}

// settle first sets the gates: what follows may take time.
func (c *core) settle() {
	c.follow()
	for _, r := range c.out.Log {
		c.writeLog(r)
	}
	if len(c.queue)+len(c.out.Send) > maxQueue {
		c.logger.Warn("giving up on the peer", "err", errStuck)
		c.queue = nil
		c.out.Reset()
		c.m.Lost(time.Now(), &c.out)
		c.follow()
		for _, r := range c.out.Log {
			c.writeLog(r)
		}
	}
	c.queue = append(c.queue, c.out.Send...)
	if len(c.out.Send) > 0 {
		poke(c.wake)
	}
	c.out.Reset()
	if c.m.Version() != c.view.Version {
		c.view = c.m.View()
		close(c.changed)
		c.changed = make(chan struct{})
	}
	if c.m.State() == session.Ended {
		select {
		case <-c.ended:
		default:
			close(c.ended)
			poke(c.wake)
		}
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// openLog makes the session log. A session lives without one (RR-06), but its
// face says so.
func (c *core) openLog() {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, err := sessionlog.Create(sessionlog.Config{Dir: c.logDir, Logger: c.logger})
	if err != nil {
		c.logFailed(err)
		return
	}
	c.log, c.logPath = l, l.Path()
	c.logger.Info("session log", "file", l.Path())
}

func (c *core) writeLog(r sessionlog.Record) {
	if c.log == nil {
		return
	}
	if err := c.log.Write(r); err != nil {
		c.log.Close()
		c.log = nil
		c.logFailed(err)
	}
}

func (c *core) logFailed(err error) {
	c.logger.Warn("no session log", "err", err)
	event, text := sessionlog.SessionLogFailed, fmt.Sprintf("The session log cannot be written: %v.", err)
	if errors.Is(err, sessionlog.ErrFull) {
		event, text = sessionlog.SessionLogFull, "The session log is full: later events are not in it."
	}
	c.m.Banner(time.Now(), event, text)
}

func (c *core) closeLog() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.log != nil {
		c.log.Close()
		c.log = nil
	}
}

// LogPath returns the file of the session log, "" before Run made it or where
// none could be made.
func (c *core) LogPath() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.logPath
}

// note puts an event into both logs.
func (c *core) note(event, text string) {
	c.do(func(now time.Time, out *session.Output) error { c.m.Note(now, event, text, out); return nil })
}

// fail ends the session because of cause; event and reason go into the log.
func (c *core) fail(cause error, event, reason string) {
	c.do(func(now time.Time, out *session.Output) error {
		if c.m.State() != session.Ended {
			c.cause = cause
		}
		c.m.Fail(now, event, reason, out)
		return nil
	})
}

// result is what Run returns once the session has ended.
func (c *core) result(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := errorOf(c.m.End(), c.cause); err != nil {
		return err
	}
	return ctx.Err()
}

// View returns the newest snapshot.
func (c *core) View() face.View {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view
}

// Wait blocks until a snapshot newer than after exists, or ctx ends.
func (c *core) Wait(ctx context.Context, after uint64) (face.View, error) {
	for {
		c.mu.Lock()
		v, changed := c.view, c.changed
		c.mu.Unlock()
		if v.Version > after {
			return v, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return face.View{}, context.Cause(ctx)
		}
	}
}

// Answer is the User's answer to an open question.
func (c *core) Answer(question uint64, yes bool) error {
	return c.do(func(now time.Time, out *session.Output) error { return c.m.Answer(now, question, yes, out) })
}

// Pause hides the screen, or shows it again.
func (c *core) Pause(paused bool) error {
	return c.do(func(now time.Time, out *session.Output) error { return c.m.Pause(now, paused, out) })
}

// RequestControl asks the User for control.
func (c *core) RequestControl() error { return c.do(c.m.RequestControl) }

// ReleaseControl gives up control, or takes it back.
func (c *core) ReleaseControl() error { return c.do(c.m.ReleaseControl) }

// Chat sends one line of chat.
func (c *core) Chat(text string) error {
	return c.do(func(now time.Time, out *session.Output) error { return c.m.Chat(now, text, out) })
}

// Stop ends the session.
func (c *core) Stop() error { return c.do(c.m.Stop) }

// Viewer is the Helper's alone.
func (c *core) Viewer(context.Context) (io.ReadWriteCloser, error) { return nil, face.ErrNotAllowed }

package ra

import (
	"bufio"
	"context"
	"errors"
	"sync"
	"time"

	"shipworm/ra/channel"
	"shipworm/ra/session"
	"shipworm/ra/sessionlog"
)

const (
	// linger is how long a side that ended the session waits for the other
	// to hang up, so that its last messages arrive before the close.
	linger = time.Second
	// writeTimeout ends a session whose peer takes nothing any more. The
	// machine's own 15 s of silence normally come first.
	writeTimeout = 20 * time.Second
	// lifePoll is how often the channel's counters are asked for signs of life.
	lifePoll = time.Second
)

// Control messages are taken at controlRate a second; a burst may be as large.
// A peer who sends more is not cut off but waits: his messages stay in QUIC's
// window.
const (
	controlRate  = 50
	controlBurst = 200
)

// converse runs the session on an authenticated connection and its control
// stream until it has ended, and closes the connection. work is what the role
// does besides; its goroutines must end when ctx does.
func (c *core) converse(ctx context.Context, conn *channel.Conn, control channel.Stream, work func(ctx context.Context)) {
	workCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	flushed := make(chan struct{})
	wg.Go(func() { defer close(flushed); c.sendControl(control) })
	wg.Go(func() { c.receiveControl(control) })
	wg.Go(func() { c.keepTime(conn) })
	wg.Go(func() { work(workCtx) })

	select {
	case <-c.ended:
	case <-conn.Done():
		c.hungUp(conn.Err())
	case <-ctx.Done():
		c.Stop()
	}
	cancel()
	end := c.end()
	if !end.Remote {
		t := time.NewTimer(linger)
		select {
		case <-conn.Done():
		case <-t.C:
		}
		t.Stop()
	} else if !end.Lost {
		t := time.NewTimer(linger / 10) // acknowledge what is still under way
		select {
		case <-flushed:
		case <-t.C:
		}
		t.Stop()
	}
	conn.Close(uint64(end.Code), "")
	wg.Wait()
}

func (c *core) end() *session.End {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m.End()
}

// hungUp ends the session because the channel has ended.
func (c *core) hungUp(err error) {
	var closed *channel.ErrClosedByPeer
	c.do(func(now time.Time, out *session.Output) error {
		switch {
		case errors.As(err, &closed):
			c.m.PeerClosed(now, byte(min(closed.Code, 0xff)), out)
		case errors.Is(err, channel.ErrBusy):
			c.m.PeerClosed(now, session.ByeBusy, out)
		case errors.Is(err, channel.ErrPassword): // expired in the last moment
			c.cause = channel.ErrPassword
			c.m.Fail(now, sessionlog.WrongPassword, refusedReason, out)
		default:
			c.m.Lost(now, out)
		}
		return nil
	})
}

// sendControl writes what is queued, several messages in one write, and ends
// the stream once the session has ended and all is written.
func (c *core) sendControl(s channel.Stream) {
	defer s.Close()
	var buf []byte
	for {
		c.mu.Lock()
		queue := c.queue
		c.queue = nil
		ended := c.m.State() == session.Ended
		c.mu.Unlock()
		buf = buf[:0]
		for _, m := range queue {
			var err error
			if buf, err = session.AppendMessage(buf, m); err != nil {
				c.logger.Error("a message of ours", "err", err)
			}
		}
		if len(buf) > 0 {
			s.SetWriteDeadline(time.Now().Add(writeTimeout))
			if _, err := s.Write(buf); err != nil {
				c.logger.Debug("control stream", "err", err)
				c.do(func(now time.Time, out *session.Output) error { c.m.Lost(now, out); return nil })
				return
			}
		}
		if ended {
			return
		}
		<-c.wake
	}
}

// receiveControl hands the peer's messages to the machine.
func (c *core) receiveControl(s channel.Stream) {
	r := bufio.NewReader(s)
	credit, last := float64(controlBurst), time.Now()
	for {
		m, err := session.ReadMessage(r)
		if errors.Is(err, session.ErrMessage) {
			c.do(func(now time.Time, out *session.Output) error { c.m.Malformed(now, err, out); return nil })
		}
		if err != nil {
			// The end of the stream is the end of the connection or follows a
			// Bye: converse sees to both.
			s.CancelRead(0)
			return
		}
		err = c.do(func(now time.Time, out *session.Output) error { return c.m.Receive(now, m, out) })
		if err != nil {
			s.CancelRead(0)
			return
		}
		now := time.Now()
		credit = min(controlBurst, credit+now.Sub(last).Seconds()*controlRate) - 1
		last = now
		if credit < 0 {
			time.Sleep(time.Second / controlRate)
		}
	}
}

// keepTime wakes the machine when something is due, and tells it of the peer's
// signs of life: any packet is one, so that a single lost message on the
// control stream is not taken for silence.
func (c *core) keepTime(conn *channel.Conn) {
	var packets uint64
	looked := time.Now()
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		var next time.Time
		c.do(func(now time.Time, out *session.Output) error {
			if n := conn.Stats().PacketsReceived; n != packets {
				// It came after the last look: the earliest moment is the safe one.
				packets = n
				c.m.Heard(looked, out)
			}
			looked = now
			c.m.Tick(now, out)
			next = c.m.Next()
			return nil
		})
		wait := lifePoll
		if !next.IsZero() {
			wait = min(wait, max(0, time.Until(next)))
		}
		t.Reset(wait)
		select {
		case <-c.ended:
			return
		case <-t.C:
		}
	}
}

package ra

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"shipworm/ra/channel"
	"shipworm/ra/face"
	"shipworm/ra/rfb"
	"shipworm/ra/session"
	"shipworm/ra/sessionlog"
)

// maxViewers bounds the screen streams that are open at once.
const maxViewers = 4

// screenGate is the rfb.Gate with its state remembered, so that following the
// machine, which happens often, does not wait for a read of the screen.
type screenGate struct {
	rfb  *rfb.Gate
	open bool
}

func newScreenGate() *screenGate { return &screenGate{rfb: rfb.NewGate(false)} }

func (g *screenGate) set(open bool) {
	if g.open != open {
		g.open = open
		g.rfb.Set(open)
	}
}

// whileScreen runs f, and ends the session if the desktop ends first: nobody
// must wait for a picture that cannot come.
func (u *User) whileScreen(ctx context.Context, f func()) {
	ctx, cancel := u.untilEnded(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	watch := u.conf.Screen.Watch()
	wg.Go(func() {
		defer watch.Close()
		for {
			select {
			case <-watch.C():
				if err := watch.Err(); err != nil {
					u.fail(err, sessionlog.ConnectionFailed, "the desktop is gone: "+oneLine(err))
					return
				}
			case <-ctx.Done():
				return
			}
		}
	})
	f()
}

// share serves the Helper's streams until ctx ends, and watches for Esc.
func (u *User) share(ctx context.Context, conn *channel.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	if u.conf.Esc != nil {
		wg.Go(func() { u.watchEsc(ctx) })
	}
	var viewers, inputs atomic.Int32
	for {
		kind, s, err := conn.AcceptStream(ctx)
		if err != nil {
			return
		}
		switch {
		case !u.sharing():
			u.breach(errors.New("a stream before the User's consent"))
		case kind == channel.KindScreen && viewers.Load() < maxViewers:
			viewers.Add(1)
			wg.Go(func() { defer viewers.Add(-1); u.serveScreen(ctx, s) })
			continue
		case kind == channel.KindInput && inputs.Add(1) == 1:
			wg.Go(func() { u.takeInput(ctx, s) })
			continue
		default:
			u.breach(errors.New("a stream too many"))
		}
		s.CancelRead(0)
		s.CancelWrite(0)
	}
}

func (u *User) sharing() bool {
	s := u.View().State
	return s == face.Screen || s == face.Control
}

// breach ends the session because of what the Helper did beside the control
// stream.
func (u *User) breach(err error) {
	u.do(func(now time.Time, out *session.Output) error { u.m.Malformed(now, err, out); return nil })
}

func (u *User) serveScreen(ctx context.Context, s channel.Stream) {
	defer s.Close()
	defer s.CancelRead(0)
	err := rfb.Serve(ctx, s, rfb.ServerConfig{
		Source: u.conf.Screen, Name: u.conf.Name, Lossless: u.conf.Lossless,
		Gate: u.show.rfb, Logger: u.logger,
	})
	switch {
	case errors.Is(err, rfb.ErrProtocol):
		u.breach(err)
	case err != nil && ctx.Err() == nil:
		u.logger.Debug("screen stream", "err", err)
	}
}

// takeInput is the way from the Helper's keyboard to the injector. It takes no
// lock but the gate's.
func (u *User) takeInput(ctx context.Context, s channel.Stream) {
	defer s.CancelRead(0)
	defer s.Close()
	defer context.AfterFunc(ctx, func() { s.CancelRead(0) })()
	var in session.Input
	for {
		err := session.ReadInput(s, &in)
		if err == nil {
			var ev rfb.Input
			if ev, err = rfb.ParseInput(in.Message); err == nil {
				u.gate.inject(time.Now(), in.Epoch, ev)
				continue
			}
		}
		if errors.Is(err, session.ErrMessage) || errors.Is(err, rfb.ErrProtocol) {
			u.breach(err)
		} else if !errors.Is(err, io.EOF) {
			u.logger.Debug("input stream", "err", err)
		}
		return
	}
}

// watchEsc shuts the gate before anybody else hears of the key. A watcher that
// ends early takes control with it: without Esc there is none.
func (u *User) watchEsc(ctx context.Context) {
	err := u.conf.Esc.Watch(ctx, func() {
		if u.gate.slam() {
			u.do(u.m.Esc)
		}
	})
	if ctx.Err() == nil {
		u.logger.Warn("Esc is not watched any more", "err", err)
		u.gate.disable()
		u.ReleaseControl()
	}
}

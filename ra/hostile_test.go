package ra

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"shipworm/ra/channel"
	"shipworm/ra/face"
	"shipworm/ra/session"
)

// hostile is a Helper with file and password whose program keeps no rules.
type hostile struct {
	*channel.Conn
	control channel.Stream
}

func (h *home) intrude() hostile {
	h.t.Helper()
	inv, password := h.opened()
	pc, err := h.helpNet.ListenPacket(context.Background())
	must(h.t, err)
	h.t.Cleanup(func() { pc.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := channel.Dial(ctx, pc, inv.Candidates[0].Addr, channel.DialConfig{Invitation: inv, Password: password})
	must(h.t, err)
	h.t.Cleanup(func() { conn.Close(0, "") })
	control, err := conn.OpenStream(ctx, channel.KindControl)
	must(h.t, err)
	return hostile{conn, control}
}

func (x hostile) send(t *testing.T, msgs ...session.Message) {
	t.Helper()
	var b []byte
	for _, m := range msgs {
		var err error
		if b, err = session.AppendMessage(b, m); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := x.control.Write(b); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Log(err)
	}
}

var greeting = session.Message{Type: session.Hello, Version: session.Version, Text: "Mallory"}

// a Helper's program that does what it may not ends the session;
// not one pixel was read, not one event injected.
func TestHostileHelper(t *testing.T) {
	frame, err := session.AppendInput(nil, session.Input{Epoch: 1, Message: keyA.AppendTo(nil)})
	must(t, err)
	open := func(kind byte, b []byte) func(t *testing.T, h *home, x hostile) {
		return func(t *testing.T, h *home, x hostile) {
			s, err := x.OpenStream(context.Background(), kind)
			must(t, err)
			s.Write(b)
		}
	}
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, h *home, x hostile)
	}{
		{"a screen stream before consent", open(channel.KindScreen, []byte{0, 0, 0, 0})},
		{"an input stream before consent", open(channel.KindInput, frame)},
		{"a second control stream", open(channel.KindControl, nil)},
		{"an unknown stream", open(200, nil)},
		{"it grants itself the view", func(t *testing.T, h *home, x hostile) {
			x.send(t, session.Message{Type: session.ViewAnswer, Code: session.Yes})
		}},
		{"it grants itself control", func(t *testing.T, h *home, x hostile) {
			x.send(t, session.Message{Type: session.ControlAnswer, Code: session.Yes, Epoch: 1, Lapse: 1})
		}},
		{"it chats before consent", func(t *testing.T, h *home, x hostile) {
			x.send(t, session.Message{Type: session.Chat, Text: "say yes"})
		}},
		{"no message at all", func(t *testing.T, h *home, x hostile) { x.control.Write([]byte{0xff, 0xff, 1}) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				h := newHome(t)
				x := h.intrude()
				x.send(t, greeting)
				h.waitUser("the question", func(v face.View) bool { return v.Question != nil })
				tt.do(t, h, x)
				if err := h.result("User", h.userErr); !errors.Is(err, ErrProtocol) {
					t.Errorf("the User's side ended with %v", err)
				}
				if n := h.screen.Grabs(); n != 0 {
					t.Errorf("the screen was read %d times", n)
				}
				if ev, _ := h.inj.seen(); len(ev) != 0 {
					t.Errorf("injected %v", ev)
				}
			})
		})
	}
}

// input without a grant, or of an epoch that was never granted, is
// dropped; input that is none ends the session.
func TestHostileInput(t *testing.T) {
	virtual(t, func(t *testing.T) {
		h := newHome(t)
		x := h.intrude()
		x.send(t, greeting)
		h.answer(face.AskView, true)
		h.waitUser("the screen", in(face.Screen))
		s, err := x.OpenStream(context.Background(), channel.KindInput)
		must(t, err)
		for epoch := range uint32(10) {
			frame, err := session.AppendInput(nil, session.Input{Epoch: epoch, Message: keyA.AppendTo(nil)})
			must(t, err)
			_, err = s.Write(frame)
			must(t, err)
		}
		_, err = s.Write([]byte{0, 0, 0, 1, 3, 99, 99, 99})
		must(t, err)
		if err := h.result("User", h.userErr); !errors.Is(err, ErrProtocol) {
			t.Errorf("the User's side ended with %v", err)
		}
		if ev, _ := h.inj.seen(); len(ev) != 0 {
			t.Errorf("injected %v", ev)
		}
	})
}

// A flood of chat is slowed down, not taken to the end of memory; the User can
// still act.
func TestChatFlood(t *testing.T) {
	virtual(t, func(t *testing.T) {
		h := newHome(t)
		x := h.intrude()
		x.send(t, greeting)
		h.answer(face.AskView, true)
		go io.Copy(io.Discard, x.control)
		b, err := session.AppendMessage(nil, session.Message{Type: session.Chat, Text: "spam"})
		must(t, err)
		flood := make(chan struct{})
		go func() {
			defer close(flood)
			for {
				if _, err := x.control.Write(b); err != nil {
					return
				}
			}
		}()
		time.Sleep(300 * time.Millisecond)
		must(t, h.user.Stop())
		if err := h.result("User", h.userErr); err != nil {
			t.Error(err)
		}
		<-flood
		if n := len(h.user.View().Log); n > controlBurst+100 {
			t.Errorf("%d entries in 0.3 s", n)
		}
	})
}

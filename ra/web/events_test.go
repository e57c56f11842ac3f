package web

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"shipworm/ra/face"
)

const patience = time.Minute

func receive(t *testing.T, conn *websocket.Conn) push {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, b, err := conn.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var p push
	if err := json.Unmarshal(b, &p); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return p
}

// order sends one command and returns the error text of its result.
func order(t *testing.T, conn *websocket.Conn, cmd string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := conn.Write(ctx, websocket.MessageText, []byte(cmd)); err != nil {
		t.Fatal(err)
	}
	for {
		if p := receive(t, conn); p.Type == "result" {
			return p.Error
		}
	}
}

func TestEventsPushViews(t *testing.T) {
	f := newFake(face.User, face.Waiting)
	conn := signIn(t, serve(t, f)).dial("/events")
	p := receive(t, conn)
	if p.Type != "view" || p.View.State != face.Waiting || p.Now == nil {
		t.Fatalf("first message %+v", p)
	}
	f.set(func(v *face.View) {
		v.State = face.Screen
		v.Peer = &face.Peer{Name: "Ada", Address: "[2001:db8::1]:50000"}
		v.Log = []face.Entry{{Event: "CHAT_MESSAGE", From: "helper", Text: "<b>hello</b>"}}
	})
	got := receive(t, conn)
	want := f.View()
	if d := cmp.Diff(&want, got.View); d != "" {
		t.Errorf("view (-want +got):\n%s", d)
	}
}

// A view that changes faster than the page is told loses nothing but the steps
// between.
func TestEventsMerge(t *testing.T) {
	f := newFake(face.User, face.Screen)
	conn := signIn(t, serve(t, f)).dial("/events")
	receive(t, conn)
	const busy, changes = 6 * pushInterval, 100
	last := make(chan uint64, 1)
	begin := time.Now()
	go func() {
		for n := 0; n < changes || time.Since(begin) < busy; n++ {
			f.set(func(v *face.View) {})
			runtime.Gosched()
		}
		last <- f.View().Version + 1 // known before it can be seen
		f.set(func(v *face.View) {})
	}()
	pushes, seen, final := 0, uint64(0), uint64(0)
	for final == 0 || seen < final {
		seen = receive(t, conn).View.Version
		pushes++
		select {
		case final = <-last:
		default:
		}
	}
	if took := time.Since(begin); pushes > int(took/pushInterval)+3 {
		t.Errorf("%d changes in %v made %d pushes", final, took, pushes)
	}
}

// Changes wait for those that follow them, but a new state does not wait: the
// viewer opens when the page hears of it.
func TestNextPush(t *testing.T) {
	chat := func(v *face.View) { v.Log = append(v.Log, face.Entry{Event: "CHAT_MESSAGE"}) }
	shared := func(v *face.View) { v.State = face.Screen }
	for _, tt := range []struct {
		name    string
		changes []func(*face.View) // 10 ms apart
		version uint64
		after   time.Duration
	}{
		{"chat", []func(*face.View){chat}, 2, pushInterval},
		{"chat, chat", []func(*face.View){chat, chat}, 3, pushInterval},
		{"state", []func(*face.View){shared}, 2, 10 * time.Millisecond},
		{"chat, state, chat", []func(*face.View){chat, shared, chat}, 3, 20 * time.Millisecond},
		{"late chat", []func(*face.View){7: chat}, 2, 80 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(face.Helper, face.Waiting)
				var changed sync.WaitGroup
				defer changed.Wait()
				changed.Go(func() {
					for _, change := range tt.changes {
						time.Sleep(10 * time.Millisecond)
						if change != nil {
							f.set(change)
						}
					}
				})
				begun := time.Now()
				v, err := (&Server{session: f}).next(t.Context(), f.View())
				if took := time.Since(begun); err != nil || v.Version != tt.version || took != tt.after {
					t.Errorf("version %d after %v (%v), want %d after %v", v.Version, took, err, tt.version, tt.after)
				}
			})
		})
	}
	t.Run("end", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		f := newFake(face.Helper, face.Waiting)
		if _, err := (&Server{session: f}).next(ctx, f.View()); !errors.Is(err, context.Canceled) {
			t.Errorf("the server has ended: %v", err)
		}
	})
}

func TestCommands(t *testing.T) {
	f := newFake(face.User, face.Screen)
	conn := signIn(t, serve(t, f)).dial("/events")
	for _, cmd := range []string{
		`{"id":1,"do":"answer","question":7,"yes":true}`,
		`{"id":2,"do":"answer","question":8}`,
		`{"id":3,"do":"pause","paused":true}`,
		`{"id":4,"do":"pause"}`,
		`{"id":5,"do":"request"}`,
		`{"id":6,"do":"release"}`,
		`{"id":7,"do":"chat","text":"hello <b>"}`,
		`{"id":8,"do":"stop"}`,
	} {
		if e := order(t, conn, cmd); e != "" {
			t.Errorf("%s: %s", cmd, e)
		}
	}
	want := []string{"answer 7 true", "answer 8 false", "pause true", "pause false", "request", "release", "chat hello <b>", "stop"}
	if d := cmp.Diff(want, f.taken()); d != "" {
		t.Errorf("calls (-want +got):\n%s", d)
	}
	for name, cmd := range map[string]string{
		"unknown":       `{"id":1,"do":"format"}`,
		"no JSON":       `stop`,
		"wrong type":    `{"id":1,"do":"answer","question":-1,"yes":true}`,
		"empty chat":    `{"id":1,"do":"chat"}`,
		"too long chat": `{"id":1,"do":"chat","text":"` + strings.Repeat("x", maxChat+1) + `"}`,
	} {
		if order(t, conn, cmd) == "" {
			t.Errorf("%s: accepted", name)
		}
	}
	if len(f.taken()) != len(want) {
		t.Errorf("bad commands reached the session: %q", f.taken()[len(want):])
	}
	f.refuse = errors.New("not now")
	if e := order(t, conn, `{"id":9,"do":"stop"}`); e != "not now" {
		t.Errorf("the session's refusal came as %q", e)
	}
}

// while the Helper drives the desktop, a Yes from the page may be his.
func TestNoConsentWhileControlled(t *testing.T) {
	f := newFake(face.User, face.Control)
	conn := signIn(t, serve(t, f)).dial("/events")
	if e := order(t, conn, `{"id":1,"do":"answer","question":7,"yes":true}`); !strings.Contains(e, "not allowed") {
		t.Errorf("Yes during control: %q", e)
	}
	if e := order(t, conn, `{"id":2,"do":"answer","question":7,"yes":false}`); e != "" {
		t.Errorf("No during control: %q", e)
	}
	if d := cmp.Diff([]string{"answer 7 false"}, f.taken()); d != "" {
		t.Errorf("calls (-want +got):\n%s", d)
	}
}

// A message over the limit ends the connection, not the server.
func TestCommandTooLong(t *testing.T) {
	f := newFake(face.User, face.Screen)
	c := signIn(t, serve(t, f))
	conn := c.dial("/events")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn.Write(ctx, websocket.MessageText, []byte(`{"do":"chat","text":"`+strings.Repeat("x", maxCommand)+`"}`))
	for {
		_, _, err := conn.Read(ctx)
		if websocket.CloseStatus(err) == websocket.StatusMessageTooBig {
			break
		}
		if err != nil {
			t.Fatalf("ended by %v", err)
		}
	}
	if p := receive(t, c.dial("/events")); p.Type != "view" {
		t.Errorf("after it: %+v", p)
	}
}

func TestTooManyPages(t *testing.T) {
	c := signIn(t, serve(t, newFake(face.User, face.Screen)))
	for range maxEvents {
		receive(t, c.dial("/events"))
	}
	res, _ := c.do("GET", "/events", "", "Origin", c.base, "Cookie", c.cookie, "Connection", "Upgrade",
		"Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==",
		"Sec-WebSocket-Protocol", protocol+", "+keyProtocol+c.key)
	if res.StatusCode != 503 {
		t.Errorf("page %d: %s", maxEvents+1, res.Status)
	}
}

// A session that ends together with its server still says why.
func TestFarewell(t *testing.T) {
	f := newFake(face.User, face.Screen)
	srv, err := New(Config{Session: f})
	if err != nil {
		t.Fatal(err)
	}
	srv.farewell = patience
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx) }()
	conn := signIn(t, srv).dial("/events")
	receive(t, conn)
	f.set(func(v *face.View) { v.State, v.End = face.Ended, &face.End{Reason: "the helper left", Clean: true} })
	cancel()
	p := receive(t, conn)
	if p.View.End == nil || p.View.End.Reason != "the helper left" {
		t.Errorf("last view %+v", p.View)
	}
	_, _, err = conn.Read(context.Background())
	if websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("closed with %v", err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("Run hangs")
	}
}

// A page that never answers the close does not hold the server up (C-06).
func TestFarewellToTheDeaf(t *testing.T) {
	f := newFake(face.User, face.Screen)
	srv, err := New(Config{Session: f})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx) }()
	receive(t, signIn(t, srv).dial("/events")) // and reads no more
	begin := time.Now()
	cancel()
	<-ended
	if d := time.Since(begin); d > patience {
		t.Errorf("Run took %v to end", d)
	}
}

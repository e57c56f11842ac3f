package web

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"shipworm/internal/leak"
	"shipworm/ra/face"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leak.Patient(m)) }

// fakeSession is a session without a network: tests set its view, and it
// records what the face asked for.
type fakeSession struct {
	mu     sync.Mutex
	view   face.View
	change chan struct{} // closed at every change
	calls  []string
	refuse error // returned by every action
	// viewer serves one viewer; it returns when it is done or rw is closed.
	viewer func(rw io.ReadWriteCloser)
}

func newFake(role, state string) *fakeSession {
	return &fakeSession{
		view:   face.View{Version: 1, Role: role, State: state, Log: []face.Entry{}},
		change: make(chan struct{}),
	}
}

// set changes the view and wakes those who wait for it.
func (f *fakeSession) set(change func(*face.View)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.view)
	f.view.Version++
	close(f.change)
	f.change = make(chan struct{})
}

func (f *fakeSession) View() face.View {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.view
}

func (f *fakeSession) Wait(ctx context.Context, after uint64) (face.View, error) {
	for {
		f.mu.Lock()
		v, change := f.view, f.change
		f.mu.Unlock()
		// The contract leaves open which comes first; this is the harder one.
		if err := ctx.Err(); err != nil {
			return face.View{}, err
		}
		if v.Version > after {
			return v, nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return face.View{}, ctx.Err()
		}
	}
}

func (f *fakeSession) called(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return f.refuse
	}
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
	return nil
}

func (f *fakeSession) taken() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.calls...)
}

func (f *fakeSession) Answer(q uint64, yes bool) error { return f.called("answer %d %t", q, yes) }
func (f *fakeSession) Pause(paused bool) error         { return f.called("pause %t", paused) }
func (f *fakeSession) RequestControl() error           { return f.called("request") }
func (f *fakeSession) ReleaseControl() error           { return f.called("release") }
func (f *fakeSession) Chat(text string) error          { return f.called("chat %s", text) }
func (f *fakeSession) Stop() error                     { return f.called("stop") }

func (f *fakeSession) Viewer(context.Context) (io.ReadWriteCloser, error) {
	if f.viewer == nil {
		return nil, face.ErrNotAllowed
	}
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		f.viewer(theirs)
	}()
	return ours, nil
}

// serve runs a server over s until the test ends.
func serve(t testing.TB, s face.Session) *Server {
	t.Helper()
	srv, err := New(Config{Session: s})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run did not return after its context's end")
		}
	})
	return srv
}

package web

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"github.com/coder/websocket"

	"shipworm/ra/face"
)

func TestViewerCarriesBytesBothWays(t *testing.T) {
	f := newFake(face.Helper, face.Screen)
	f.viewer = func(rw io.ReadWriteCloser) { io.Copy(rw, rw) }
	conn := signIn(t, serve(t, f)).dial("/rfb")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	want := bytes.Repeat([]byte{0, 1, 2, 253, 254, 255}, 8000)
	if err := conn.Write(ctx, websocket.MessageBinary, want); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	nc := websocket.NetConn(ctx, conn, websocket.MessageBinary)
	if _, err := io.ReadFull(nc, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("bytes changed on the way")
	}
}

func TestViewerEnds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		viewer func(io.ReadWriteCloser)
		send   websocket.MessageType
		bytes  int
		want   websocket.StatusCode
	}{
		{"not allowed", nil, 0, 0, websocket.StatusPolicyViolation},
		{"stream over", func(io.ReadWriteCloser) {}, 0, 0, websocket.StatusNormalClosure},
		{"text message", func(rw io.ReadWriteCloser) { io.Copy(io.Discard, rw) }, websocket.MessageText, 1, websocket.StatusNormalClosure},
		{"message too long", func(rw io.ReadWriteCloser) { io.Copy(io.Discard, rw) }, websocket.MessageBinary, maxInput + 1, websocket.StatusMessageTooBig},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(face.Helper, face.Screen)
			f.viewer = tt.viewer
			conn := signIn(t, serve(t, f)).dial("/rfb")
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if tt.bytes > 0 {
				conn.Write(ctx, tt.send, make([]byte, tt.bytes))
			}
			_, _, err := conn.Read(ctx)
			if got := websocket.CloseStatus(err); got != tt.want {
				t.Errorf("closed with %v (%v), want %v", got, err, tt.want)
			}
		})
	}
}

// The hop between session and browser; the picture must not wait for it.
func BenchmarkViewer(b *testing.B) {
	f := newFake(face.Helper, face.Screen)
	block := make([]byte, 1<<20)
	f.viewer = func(rw io.ReadWriteCloser) {
		for {
			if _, err := rw.Write(block); err != nil {
				return
			}
		}
	}
	conn := signIn(b, serve(b, f)).dial("/rfb")
	conn.SetReadLimit(-1)
	nc := websocket.NetConn(context.Background(), conn, websocket.MessageBinary)
	b.SetBytes(int64(len(block)))
	buf := make([]byte, len(block))
	for b.Loop() {
		if _, err := io.ReadFull(nc, buf); err != nil {
			b.Fatal(err)
		}
	}
	conn.CloseNow()
}

// RR-05: what a browser does not read is not read from the session either.
func TestViewerBackPressure(t *testing.T) {
	written := make(chan int, 1)
	stalled := make(chan struct{}, 1)
	f := newFake(face.Helper, face.Screen)
	f.viewer = func(rw io.ReadWriteCloser) {
		n := 0
		defer func() { written <- n }()
		block := make([]byte, 1<<20)
		for n < 256<<20 {
			step := make(chan struct{})
			go func() {
				select {
				case <-step:
				case <-time.After(500 * time.Millisecond):
					select {
					case stalled <- struct{}{}:
					default:
					}
				}
			}()
			m, err := rw.Write(block)
			close(step)
			n += m
			if err != nil {
				return
			}
		}
	}
	conn := signIn(t, serve(t, f)).dial("/rfb")
	select {
	case <-stalled:
	case n := <-written:
		t.Fatalf("%d MiB were taken from the session with nobody reading", n>>20)
	case <-time.After(2 * time.Minute):
		t.Fatal("neither stalled nor done")
	}
	conn.CloseNow()
	if n := <-written; n > 64<<20 {
		t.Errorf("%d MiB were buffered", n>>20)
	}
}

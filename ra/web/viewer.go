package web

import (
	"context"
	"io"
	"net/http"

	"github.com/coder/websocket"
)

const (
	// maxInput bounds one message of the viewer. noVNC's are a few hundred
	// bytes; its clipboard messages, which the session drops anyway,
	// are what could be longer.
	maxInput  = 64 << 10
	viewerBuf = 32 << 10
)

// serveViewer joins one noVNC to one viewer stream of the session. Nothing is
// queued here: while the browser reads slowly the stream is not read, and the
// session's own rule "newest frame wins" applies (RR-05).
func (s *Server) serveViewer(w http.ResponseWriter, r *http.Request) {
	conn, done := s.upgrade(w, r, &s.viewers, maxViewers, maxInput)
	if conn == nil {
		return
	}
	defer done()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	v, err := s.session.Viewer(ctx)
	if err != nil {
		s.log.Debug("web: no viewer", "err", err)
		conn.CloseRead(ctx)
		s.bye(conn, cancel, websocket.StatusPolicyViolation, "there is no screen to show now")
		return
	}
	fromBrowser := make(chan struct{})
	go func() {
		defer close(fromBrowser)
		toSession(ctx, v, conn)
		v.Close() // ends the other direction
	}()
	toBrowser(ctx, conn, v)
	s.bye(conn, cancel, websocket.StatusNormalClosure, "the screen ended")
	v.Close()
	<-fromBrowser
}

func toSession(ctx context.Context, v io.Writer, conn *websocket.Conn) {
	buf := make([]byte, viewerBuf)
	for {
		kind, msg, err := conn.Reader(ctx)
		if err != nil || kind != websocket.MessageBinary {
			return
		}
		if _, err := io.CopyBuffer(onlyWriter{v}, msg, buf); err != nil {
			return
		}
	}
}

func toBrowser(ctx context.Context, conn *websocket.Conn, v io.Reader) {
	buf := make([]byte, viewerBuf)
	for {
		n, err := v.Read(buf)
		if n > 0 && conn.Write(ctx, websocket.MessageBinary, buf[:n]) != nil {
			return
		}
		if err != nil {
			return
		}
	}
}

// onlyWriter hides ReadFrom, which would bring a buffer of its own.
type onlyWriter struct{ io.Writer }

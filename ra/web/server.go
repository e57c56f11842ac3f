package web

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"

	"shipworm/ra/face"
)

// Bounds of the server. One person sits in front of it; they only keep a
// broken or hostile program on the same machine from eating memory.
const (
	maxConns       = 64
	maxHeaderBytes = 16 << 10
	maxEvents      = 16 // pages open at once
	maxViewers     = 4  // viewers open at once
	headerTimeout  = 5 * time.Second
)

// Config says what to serve. Session is required.
type Config struct {
	// Session is what the page shows and acts on.
	Session face.Session
	// Logger gets refused requests at Debug. Nil discards.
	Logger *slog.Logger
}

// Server serves the page of one session on a loopback port.
type Server struct {
	session face.Session
	log     *slog.Logger
	ln      net.Listener
	gate    *gate
	files   map[string]file
	now     func() time.Time

	farewell time.Duration // for the last push and the close

	mu      sync.Mutex // guards closing, and that wg grows only while it is false
	closing bool
	wg      sync.WaitGroup // requests; http.Server forgets those it upgraded

	events  atomic.Int32
	viewers atomic.Int32
	refused atomic.Uint64
}

// New binds a free port of 127.0.0.1, so that URL is known before Run starts.
// The caller calls Run, or Close if it never does.
func New(cfg Config) (*Server, error) {
	if cfg.Session == nil {
		return nil, errors.New("web: Config.Session is nil")
	}
	files, err := loadFiles()
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Server{
		session: cfg.Session,
		log:     log,
		ln:      netutil.LimitListener(ln, maxConns),
		gate:    &gate{},
		files:   files,
		now:     time.Now,

		farewell: 500 * time.Millisecond,
	}, nil
}

// URL returns the address of the page with a fresh one-time code in its
// fragment. The code lives for 30 seconds and works once, so call URL
// when somebody is about to open it, and again whenever they ask: of the codes
// not yet used, the newest four stay valid.
func (s *Server) URL() string {
	return "http://" + s.ln.Addr().String() + "/#" + s.gate.mint(s.now())
}

// Addr returns the address served, 127.0.0.1 and a port.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Refused returns how many requests the rules of R-32 turned away.
func (s *Server) Refused() uint64 { return s.refused.Load() }

// Close frees the port. Only needed if Run is never called.
func (s *Server) Close() error { return s.ln.Close() }

// Run serves until ctx ends and returns nil then, after every request has been
// served, WebSockets included. Pages still open are told the newest state first,
// for at most half a second. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	srv := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       2 * headerTimeout,
		WriteTimeout:      2 * headerTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(s.ln) }()
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		srv.Close()
		<-failed
	}
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.wg.Wait()
	if ctx.Err() != nil {
		return nil
	}
	srv.Close()
	return fmt.Errorf("web: %w", err)
}

// counted lets Run wait for every request, upgraded ones included.
func (s *Server) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		if s.closing {
			s.mu.Unlock()
			return
		}
		s.wg.Add(1)
		s.mu.Unlock()
		defer s.wg.Done()
		next.ServeHTTP(w, r)
	})
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", s.serveFile)
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("POST /resume", s.resume)
	mux.HandleFunc("GET /events", s.serveEvents)
	mux.HandleFunc("GET /rfb", s.serveViewer)
	return s.counted(s.guard(mux))
}

// token returns n random bytes in an alphabet that URLs, cookies and
// WebSocket subprotocols all take. rand.Read never fails.
func token(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

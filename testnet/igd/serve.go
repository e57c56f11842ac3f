package igd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Sockets are what a Server lives on. Those that are nil it does without.
// Run closes them.
type Sockets struct {
	Control net.PacketConn // NAT-PMP and PCP: port 5351, or any in a test
	// Control6 is PCP over IPv6, for pinholes.
	Control6 net.PacketConn
	Search   net.PacketConn // SSDP: port 1900 and in its group, or any in a test
	// Stranger is at an address or port that nobody asks, for profiles that
	// answer from there. Without it they send nothing from there.
	Stranger net.PacketConn
	// Listen opens the web server. It is called again when a reboot moves it.
	Listen func() (net.Listener, error)
	// Logger hears of requests (Debug) and trouble; nil discards.
	Logger *slog.Logger
}

// maxDelayed bounds the datagrams that wait for their time.
const maxDelayed = 1024

// A Server runs a Router on sockets.
type Server struct {
	router  *Router
	sockets Sockets
	log     *slog.Logger
	delayed chan timed
	reboots chan chan error
	done    chan struct{}
	dropped atomic.Uint64
}

type timed struct {
	Datagram
	at time.Time
}

// NewServer returns a server of r that does nothing before Run.
func NewServer(r *Router, s Sockets) *Server {
	log := s.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Server{router: r, sockets: s, log: log, delayed: make(chan timed, maxDelayed),
		reboots: make(chan chan error), done: make(chan struct{})}
}

// Dropped returns the number of datagrams that could not be sent or queued.
func (s *Server) Dropped() uint64 { return s.dropped.Load() }

// Run serves until ctx is done, says goodbye, and returns ctx's cause. It may
// be called once.
func (s *Server) Run(ctx context.Context) error {
	defer close(s.done)
	var wg sync.WaitGroup
	defer wg.Wait()
	conns := []net.PacketConn{s.sockets.Control, s.sockets.Control6, s.sockets.Search, s.sockets.Stranger}
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}()
	web, err := s.listen(ctx)
	if err != nil {
		return err
	}
	defer func() { web.stop() }()
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	s.read(&wg, s.sockets.Control, s.router.Control)
	s.read(&wg, s.sockets.Control6, s.router.Control)
	s.read(&wg, s.sockets.Search, s.router.Search)
	wg.Go(func() { s.deliver(inner) })
	s.send(s.router.Start(time.Now()))
	expiry := time.NewTimer(0)
	defer expiry.Stop()
	for {
		select {
		case <-ctx.Done():
			s.send(s.router.Goodbye())
			return context.Cause(ctx)
		case <-expiry.C:
			s.send(s.router.Advance(time.Now()))
			expiry.Reset(s.untilNext())
		case answer := <-s.reboots:
			if s.router.q.portMoves {
				web.stop()
				if web, err = s.listen(ctx); err != nil {
					answer <- err
					return err
				}
			}
			s.send(s.router.Reboot(time.Now()))
			answer <- nil
		}
	}
}

// untilNext is how long nothing expires, at most a little: a request may add a
// mapping in the meantime.
func (s *Server) untilNext() time.Duration {
	const little = 100 * time.Millisecond
	next, ok := s.router.Next()
	if !ok {
		return little
	}
	return min(little, max(0, time.Until(next)))
}

// Reboot has the running router lose its mappings and announce itself. It
// returns when that is done, or net.ErrClosed if Run has ended.
func (s *Server) Reboot() error {
	answer := make(chan error, 1)
	select {
	case s.reboots <- answer:
		return <-answer
	case <-s.done:
		return net.ErrClosed
	}
}

// read answers the datagrams of one socket until it is closed.
func (s *Server) read(wg *sync.WaitGroup, c net.PacketConn, answer func(time.Time, netip.AddrPort, []byte) []Datagram) {
	if c == nil {
		return
	}
	wg.Go(func() {
		buf := make([]byte, 1<<16)
		for {
			n, addr, err := c.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				s.log.Debug("read", "socket", c.LocalAddr(), "err", err)
				continue
			}
			from, err := netip.ParseAddrPort(addr.String())
			if err != nil {
				continue
			}
			s.log.Debug("request", "socket", c.LocalAddr(), "from", from, "bytes", n)
			s.send(answer(time.Now(), from, buf[:n]))
		}
	})
}

func (s *Server) send(list []Datagram) {
	now := time.Now()
	for _, d := range list {
		if d.After == 0 {
			s.sendNow(d)
			continue
		}
		select {
		case s.delayed <- timed{d, now.Add(d.After)}:
		default:
			s.dropped.Add(1)
		}
	}
}

func (s *Server) sendNow(d Datagram) {
	c := [...]net.PacketConn{ViaControl: s.sockets.Control, ViaSearch: s.sockets.Search, ViaStranger: s.sockets.Stranger}[d.Via]
	if d.Via == ViaControl && d.To.Addr().Is6() {
		c = s.sockets.Control6
	}
	if c == nil {
		s.dropped.Add(1)
		return
	}
	if _, err := c.WriteTo(d.Payload, net.UDPAddrFromAddrPort(d.To)); err != nil {
		s.dropped.Add(1)
		s.log.Debug("send", "to", d.To, "err", err)
	}
}

// deliver sends what waits for its time.
func (s *Server) deliver(ctx context.Context) {
	var waiting []timed
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-s.delayed:
			if len(waiting) == maxDelayed {
				s.dropped.Add(1)
				continue
			}
			waiting = append(waiting, d)
		case <-timer.C:
		}
		now, next := time.Now(), time.Hour
		later := waiting[:0]
		for _, d := range waiting {
			if wait := d.at.Sub(now); wait > 0 {
				later, next = append(later, d), min(next, wait)
			} else {
				s.sendNow(d.Datagram)
			}
		}
		waiting = later
		timer.Reset(next)
	}
}

// A web is the web server at one port.
type web struct {
	server  *http.Server
	running sync.WaitGroup // Serve, and the requests
	mu      sync.Mutex
	stopped bool
}

// listen starts the web server.
func (s *Server) listen(ctx context.Context) (*web, error) {
	w := &web{}
	if s.sockets.Listen == nil {
		return w, nil
	}
	l, err := s.sockets.Listen()
	if err != nil {
		return w, fmt.Errorf("igd: web server: %w", err)
	}
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		s.router.setHTTP(uint16(a.Port))
	}
	handler := s.router.Handler()
	w.server = &http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // aborted answers are meant
		BaseContext:       func(net.Listener) context.Context { return ctx },
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, q *http.Request) {
			if !w.enter() {
				panic(http.ErrAbortHandler)
			}
			defer w.running.Done()
			handler.ServeHTTP(rw, q)
		}),
	}
	w.running.Go(func() { _ = w.server.Serve(l) })
	return w, nil
}

// enter counts a request, unless the server has stopped.
func (w *web) enter() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.running.Add(1)
	}
	return !w.stopped
}

// stop closes every connection and waits for their goroutines.
func (w *web) stop() {
	if w.server == nil {
		return
	}
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	w.server.Close()
	w.running.Wait()
}

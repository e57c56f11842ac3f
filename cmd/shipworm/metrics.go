package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// metrics collects samples in Prometheus's text format, version 0.0.4. Samples
// of one name must follow each other.
type metrics struct {
	b    strings.Builder
	last string // name
}

func (m *metrics) gauge(name, help string, v float64, labels ...string) {
	m.sample("gauge", name, help, strconv.FormatFloat(v, 'g', -1, 64), labels)
}

func (m *metrics) counter(name, help string, v uint64, labels ...string) {
	m.sample("counter", name, help, strconv.FormatUint(v, 10), labels)
}

func (m *metrics) sample(kind, name, help, value string, labels []string) {
	if name != m.last {
		m.last = name
		fmt.Fprintf(&m.b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
	}
	m.b.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		sep := ","
		if i == 0 {
			sep = "{"
		}
		// Quote's escapes are the format's for what our labels hold.
		m.b.WriteString(sep + labels[i] + "=" + strconv.Quote(labels[i+1]))
	}
	if len(labels) > 0 {
		m.b.WriteByte('}')
	}
	m.b.WriteString(" " + value + "\n")
}

func addMetrics(c *cobra.Command, to *string) {
	c.Flags().StringVar(to, "metrics", "", "serve Prometheus metrics on this `address`: a loopback IP and port, or unix:PATH")
}

// metricsServer serves one page, to whoever may reach a loopback address or a
// socket.
type metricsServer struct {
	l    net.Listener
	srv  *http.Server
	done chan struct{}
}

// openMetrics opens the listener; with an empty address there is none, and
// serve and close do nothing.
func openMetrics(addr string) (*metricsServer, error) {
	if addr == "" {
		return &metricsServer{}, nil
	}
	network := "tcp"
	if path, ok := strings.CutPrefix(addr, "unix:"); ok && path != "" {
		network, addr = "unix", path
		if info, err := os.Lstat(path); err == nil && info.Mode().Type() == os.ModeSocket {
			_ = os.Remove(path) // of a process that was killed
		}
	} else if ap, err := netip.ParseAddrPort(addr); err != nil || !ap.Addr().IsLoopback() {
		return nil, usageError(fmt.Errorf("--metrics %q: want a loopback address with a port, such as 127.0.0.1:9640, or unix:PATH", addr))
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		return nil, fmt.Errorf("--metrics: %w", err)
	}
	return &metricsServer{l: l, done: make(chan struct{})}, nil
}

// paths is that of the socket, if it is one, for whoever removes it.
func (s *metricsServer) paths() []string {
	if s.l == nil || s.l.Addr().Network() != "unix" {
		return nil
	}
	return []string{s.l.Addr().String()}
}

// serve answers with what collect writes, until close.
func (s *metricsServer) serve(collect func(*metrics)) {
	if s.l == nil {
		return
	}
	page := func(w http.ResponseWriter, _ *http.Request) {
		var m metrics
		collect(&m)
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = io.WriteString(w, m.b.String())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", page)
	s.srv = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, MaxHeaderBytes: 8 << 10}
	go func() {
		defer close(s.done)
		if err := s.srv.Serve(s.l); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintf(os.Stderr, "shipworm: metrics: %v\n", err)
		}
	}()
}

func (s *metricsServer) close() {
	switch {
	case s.srv != nil:
		s.srv.Close()
		<-s.done
	case s.l != nil:
		s.l.Close()
	}
}

package teredo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/packet"
	"shipworm/teredo/udp"
)

// ServerConfig configures a Server. Only Primary must be set.
type ServerConfig struct {
	// Primary is the IPv4 address that clients put into their addresses. It
	// must be an address of this host.
	Primary netip.Addr

	// Secondary is a second address of this host, or the zero Addr. Without
	// one the server works, but cannot help clients to tell their NAT's kind.
	Secondary netip.Addr

	// Port is the UDP port; zero means 3544. Clients know no other: a
	// different one only serves behind something that redirects 3544 to it.
	Port uint16

	// Policy decides where packets may go. If Listen is nil, the host's own
	// addresses and attached subnets are added to it when Run starts.
	Policy Policy

	// Native forwards the clients' tests of native nodes (RFC 4380, 5.2.9) by
	// the host's IPv6 routes: without it, clients reach no native node through
	// this server. It needs Linux and CAP_NET_RAW.
	Native bool

	// Clients are those who may qualify, unless it is nil: secure
	// qualification, RFC 4380, 5.2.2.
	Clients []Credential

	// Limits bound what is sent; zero fields mean the defaults.
	Limits engine.Limits

	// Listen opens a UDP socket; nil means the kernel.
	Listen func(ctx context.Context, local netip.AddrPort) (net.PacketConn, error)

	// OnReady is called once, when every socket is open.
	OnReady func()

	// Logger hears of start and stop at Info; nil discards.
	Logger *slog.Logger
}

// ServerState is a snapshot of a Server's counters.
type ServerState struct {
	engine.ServerState
	NativeErrors uint64        `json:"native_errors"` // tests that no route led to
	Sockets      []SocketStats `json:"sockets"`
}

// Server is a Teredo server: it answers clients that qualify and forwards
// bubbles and small echoes, never data (RFC 4380, 5.3). It keeps nothing about
// its clients but rate limits.
type Server struct {
	cfg      ServerConfig
	log      *slog.Logger
	ran      atomic.Bool
	requests chan func(*serving)
	done     chan struct{}

	mu    sync.Mutex
	final ServerState
}

// NewServer checks the configuration, with every problem in the error. It
// opens nothing.
func NewServer(cfg ServerConfig) (*Server, error) {
	if cfg.Port == 0 {
		cfg.Port = Port
	}
	cfg.Primary, cfg.Secondary = cfg.Primary.Unmap(), cfg.Secondary.Unmap()
	if _, err := newServerMachine(cfg, cfg.Policy); err != nil {
		return nil, err
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Server{cfg: cfg, log: log, requests: make(chan func(*serving)), done: make(chan struct{})}, nil
}

func newServerMachine(cfg ServerConfig, p Policy) (*engine.Server, error) {
	m, err := engine.NewServer(engine.ServerConfig{
		Primary: cfg.Primary, Secondary: cfg.Secondary, Policy: p, Limits: cfg.Limits, Clients: cfg.Clients,
		Seed: rand.Uint64(), // not to be guessed: floods would aim
	})
	if err != nil {
		return nil, fmt.Errorf("teredo: server: %w", err)
	}
	return m, nil
}

// serving is a Server at work; it belongs to the goroutine in loop.
type serving struct {
	machine *engine.Server
	sockets []udp.Socket
	native  *nativeSocket // nil: none
	lost    uint64        // native packets that the kernel refused
	out     engine.ServerOutput
	scratch [2][]packet.Packet
}

// Run serves until ctx ends and returns the cause of that, or why it could
// not. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	if !s.ran.CompareAndSwap(false, true) {
		return ErrRan
	}
	defer close(s.done)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	policy := s.cfg.Policy
	if s.cfg.Listen == nil {
		var err error
		if policy, err = withLocal(policy); err != nil {
			return fmt.Errorf("teredo: %w", err)
		}
	}
	machine, err := newServerMachine(s.cfg, policy)
	if err != nil {
		return err
	}
	v := &serving{machine: machine}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.final = v.state()
	}()
	if s.cfg.Native {
		if v.native, err = openNative(); err != nil {
			return fmt.Errorf("teredo: server: %w", err)
		}
		defer v.native.close()
	}
	if err := s.openSockets(ctx, v); err != nil {
		return err
	}
	s.log.Info("serving", "primary", s.cfg.Primary, "secondary", s.cfg.Secondary, "port", s.cfg.Port)
	if s.cfg.OnReady != nil {
		s.cfg.OnReady()
	}

	r := newReader(len(v.sockets), packet.DefaultSize)
	broken := make(chan error, len(v.sockets))
	var readers sync.WaitGroup
	for i, sock := range v.sockets {
		readers.Go(func() { broken <- r.run(ctx, i, sock.ReadBatch) })
	}
	err = s.loop(ctx, v, r, broken)
	cancel()
	for _, sock := range v.sockets {
		sock.Close()
	}
	readers.Wait()
	s.log.Info("stopped")
	return err
}

func (s *Server) openSockets(ctx context.Context, v *serving) error {
	var errs []error
	for _, a := range []netip.Addr{s.cfg.Primary, s.cfg.Secondary} {
		if !a.IsValid() {
			continue
		}
		local := netip.AddrPortFrom(a, s.cfg.Port)
		var sock udp.Socket
		var err error
		if s.cfg.Listen == nil {
			sock, err = udp.Listen(ctx, local, udp.Config{})
		} else {
			var pc net.PacketConn
			if pc, err = s.cfg.Listen(ctx, local); err == nil {
				sock = udp.From(pc, udp.Config{})
			}
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		v.sockets = append(v.sockets, sock)
	}
	if len(errs) > 0 {
		for _, sock := range v.sockets {
			sock.Close()
		}
		return fmt.Errorf("teredo: server: %w", errors.Join(errs...))
	}
	return nil
}

func (s *Server) loop(ctx context.Context, v *serving, r *reader, broken <-chan error) error {
	for {
		select {
		case b := <-r.full:
			now := time.Now()
			for i := range b.pkts[:b.n] {
				v.machine.Receive(now, b.from, b.pkts[i].Addr, b.pkts[i].Data(), &v.out)
			}
			v.flush()
			r.free <- b
		case f := <-s.requests:
			f(v)
		case err := <-broken:
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("teredo: server: %w", err)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// flush sends what the machine produced, one batch a socket.
func (v *serving) flush() {
	for i := range v.scratch {
		v.scratch[i] = v.scratch[i][:0]
	}
	for _, t := range v.out.Transmit {
		var p packet.Packet
		p.Set(t.Payload, t.To)
		v.scratch[t.From] = append(v.scratch[t.From], p)
	}
	for i, sock := range v.sockets {
		if len(v.scratch[i]) > 0 {
			_, _ = sock.WriteBatch(v.scratch[i]) // failures are counted by the socket
		}
	}
	for _, p := range v.out.Native {
		if v.native != nil && v.native.send(p) != nil {
			v.lost++
		}
	}
	v.out.Reset()
}

func (v *serving) state() ServerState {
	s := ServerState{ServerState: v.machine.Snapshot(), NativeErrors: v.lost}
	for _, sock := range v.sockets {
		s.Sockets = append(s.Sockets, sock.Stats())
	}
	return s
}

// State returns the present counters; after Run the last ones.
func (s *Server) State() ServerState {
	if s.ran.Load() {
		var st ServerState
		served := make(chan struct{})
		select {
		case s.requests <- func(v *serving) { st = v.state(); close(served) }:
			<-served
			return st
		case <-s.done:
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.final
}

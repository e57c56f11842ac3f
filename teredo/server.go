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

	// Workers is how many processors serve each address; zero means all, and
	// where the system cannot share a port among sockets there is one.
	Workers int

	// Plain sends datagrams one by one, as RelayConfig.Plain does.
	Plain bool

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
	cfg ServerConfig
	log *slog.Logger
	ran atomic.Bool

	mu      sync.Mutex
	serving *serving // nil before Run
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
	return &Server{cfg: cfg, log: log}, nil
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

// serving is a Server at work: a worker for each socket.
type serving struct {
	sockets [2][]udp.Socket // of each address, as many as workers
	workers []*serverWorker
	native  *nativeSocket // nil: none
}

// serverWorker answers what one socket receives. Its machine shares nothing but
// the limits with the others.
type serverWorker struct {
	v       *serving
	address int // 0 primary, 1 secondary
	index   int // among the sockets of the address
	out     engine.ServerOutput
	scratch [2][]packet.Packet

	mu      sync.Mutex // held while a batch is worked on
	machine *engine.Server
	lost    uint64 // native packets that the kernel refused
}

// Run serves until ctx ends and returns the cause of that, or why it could
// not. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	if !s.ran.CompareAndSwap(false, true) {
		return ErrRan
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	policy := s.cfg.Policy
	if s.cfg.Listen == nil {
		var err error
		if policy, err = withLocal(policy); err != nil {
			return fmt.Errorf("teredo: %w", err)
		}
	}
	v := &serving{}
	if s.cfg.Native {
		var err error
		if v.native, err = openNative(); err != nil {
			return fmt.Errorf("teredo: server: %w", err)
		}
		defer v.native.close()
	}
	if err := s.openSockets(ctx, v); err != nil {
		return err
	}
	defer v.close()
	if err := s.hire(v, policy); err != nil {
		return err
	}
	s.mu.Lock()
	s.serving = v
	s.mu.Unlock()
	s.log.Info("serving", "primary", s.cfg.Primary, "secondary", s.cfg.Secondary, "port", s.cfg.Port, "workers", len(v.workers))
	if s.cfg.OnReady != nil {
		s.cfg.OnReady()
	}
	var working sync.WaitGroup
	for _, w := range v.workers {
		working.Go(func() { cancel(w.run()) })
	}
	<-ctx.Done()
	v.close()
	working.Wait()
	s.log.Info("stopped")
	return context.Cause(ctx)
}

// hire makes a worker for each socket.
func (s *Server) hire(v *serving, policy Policy) error {
	machine, err := newServerMachine(s.cfg, policy)
	for address, sockets := range v.sockets {
		for i := range sockets {
			if err != nil {
				return err
			}
			v.workers = append(v.workers, &serverWorker{v: v, address: address, index: i, machine: machine})
			machine, err = machine.Twin()
		}
	}
	return nil
}

func (v *serving) close() {
	for _, sockets := range v.sockets {
		closeAll(sockets)
	}
}

// openSockets opens as many sockets for each address as there are workers.
func (s *Server) openSockets(ctx context.Context, v *serving) error {
	var errs []error
	for i, a := range []netip.Addr{s.cfg.Primary, s.cfg.Secondary} {
		if !a.IsValid() {
			continue
		}
		var err error
		v.sockets[i], err = s.listen(ctx, netip.AddrPortFrom(a, s.cfg.Port))
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		v.close()
		return fmt.Errorf("teredo: server: %w", err)
	}
	return nil
}

// listen opens the sockets for one address.
func (s *Server) listen(ctx context.Context, local netip.AddrPort) ([]udp.Socket, error) {
	if s.cfg.Listen != nil {
		pc, err := s.cfg.Listen(ctx, local)
		if err != nil {
			return nil, err
		}
		return []udp.Socket{udp.From(pc, udp.Config{Busy: true, Plain: s.cfg.Plain})}, nil
	}
	return listenShared(ctx, local, s.cfg.Workers, udp.Config{Busy: true, Plain: s.cfg.Plain})
}

// run works until the socket is closed or broken, and says why.
func (w *serverWorker) run() error {
	sock := w.v.sockets[w.address][w.index]
	pkts := packet.NewBatch(serverBatch, packet.DefaultSize)
	for {
		n, err := sock.ReadBatch(pkts)
		if err != nil {
			return fmt.Errorf("teredo: server: %w", err)
		}
		now := time.Now()
		w.mu.Lock()
		for i := range pkts[:n] {
			w.machine.Expect(pkts[i].Addr, pkts[i].Data())
		}
		for i := range pkts[:n] {
			w.machine.Receive(now, w.address, pkts[i].Addr, pkts[i].Data(), &w.out)
		}
		w.flush()
		w.mu.Unlock()
	}
}

// serverBatch is how many datagrams a worker takes at a time.
const serverBatch = 64

// flush sends what the machine produced, one batch an address.
func (w *serverWorker) flush() {
	for i := range w.scratch {
		w.scratch[i] = w.scratch[i][:0]
	}
	for _, t := range w.out.Transmit {
		var p packet.Packet
		p.Set(t.Payload, t.To)
		w.scratch[t.From] = append(w.scratch[t.From], p)
	}
	for i, pkts := range w.scratch {
		if len(pkts) > 0 {
			_, _ = w.v.sockets[i][w.index].WriteBatch(pkts) // failures are counted by the socket
		}
	}
	for _, p := range w.out.Native {
		if w.v.native != nil && w.v.native.send(p) != nil {
			w.lost++
		}
	}
	w.out.Reset()
}

// State returns the present counters; after Run the last ones.
func (s *Server) State() ServerState {
	s.mu.Lock()
	v := s.serving
	s.mu.Unlock()
	var st ServerState
	if v == nil {
		return st
	}
	for i, w := range v.workers {
		w.mu.Lock()
		one := w.machine.Snapshot()
		st.NativeErrors += w.lost
		w.mu.Unlock()
		if i == 0 {
			st.ServerState = one
		} else {
			st.ServerState.Add(&one)
		}
	}
	for _, sockets := range v.sockets {
		for _, sock := range sockets {
			st.Sockets = append(st.Sockets, sock.Stats())
		}
	}
	return st
}

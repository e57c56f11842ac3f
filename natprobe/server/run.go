package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"shipworm/natprobe/message"
)

// ErrRan is that a Server was run before.
var ErrRan = errors.New("server: ran before")

// Server is a Machine with its sockets.
type Server struct {
	cfg Config
	ran atomic.Bool

	mu      sync.Mutex // covers no I/O
	machine *Machine
	alive   bool // what OnPeer was told last
}

// New checks the configuration, with every problem in the error. It opens
// nothing.
func New(c Config) (*Server, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	m, err := NewMachine(c, time.Now())
	if err != nil {
		return nil, err
	}
	return &Server{cfg: c, machine: m}, nil
}

// Counters returns the counters so far.
func (s *Server) Counters() Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.machine.Counters()
}

// Run serves until ctx ends and returns the cause of that, or why it could
// not. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	if !s.ran.CompareAndSwap(false, true) {
		return ErrRan
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	socks, err := s.open(ctx)
	defer func() {
		for _, c := range socks {
			c.Close()
		}
	}()
	if err != nil {
		return err
	}
	tcp := s.listenTCP(ctx)
	s.cfg.Logger.Info("serving", "addresses", s.cfg.Listen, "ports", []uint16{s.cfg.Port, s.cfg.OtherPort})
	if s.cfg.OnReady != nil {
		s.cfg.OnReady()
	}
	var all sync.WaitGroup
	if tcp != nil {
		defer tcp.Close()
		all.Go(func() { hangUp(ctx, tcp) })
		context.AfterFunc(ctx, func() { tcp.Close() })
	}
	for name, c := range socks {
		all.Go(func() { cancel(s.serve(ctx, name, c, socks)) })
	}
	if s.cfg.Peer != nil {
		all.Go(func() { s.greet(ctx, socks) })
	}
	<-ctx.Done()
	for _, c := range socks {
		c.Close()
	}
	all.Wait()
	return context.Cause(ctx)
}

// open opens all sockets. With an error it returns those that are open.
func (s *Server) open(ctx context.Context) (map[Socket]*net.UDPConn, error) {
	socks := map[Socket]*net.UDPConn{}
	listen := func(name Socket, addr netip.Addr, port uint16) error {
		var lc net.ListenConfig
		c, err := lc.ListenPacket(ctx, "udp", netip.AddrPortFrom(addr, port).String())
		if err != nil {
			return fmt.Errorf("server: %w", err)
		}
		socks[name] = c.(*net.UDPConn)
		return nil
	}
	for i, addr := range s.cfg.Listen {
		for j, port := range []uint16{s.cfg.Port, s.cfg.OtherPort} {
			if err := listen(Socket(i)*OtherAddress|Socket(j)*OtherPort, addr, port); err != nil {
				return socks, err
			}
		}
	}
	if p := s.cfg.Peer; p != nil {
		return socks, listen(PeerSocket, s.cfg.Listen[0], p.Port)
	}
	return socks, nil
}

// listenTCP opens the port over TCP, too: whoever gets a connection and no
// answer over UDP knows that the server is there. It is no harm if it cannot.
func (s *Server) listenTCP(ctx context.Context) net.Listener {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", netip.AddrPortFrom(s.cfg.Listen[0], s.cfg.Port).String())
	if err != nil {
		s.cfg.Logger.Info("no TCP", "err", err)
		return nil
	}
	return l
}

// hangUp closes every connection as soon as it is there.
func hangUp(ctx context.Context, l net.Listener) {
	for ctx.Err() == nil {
		c, err := l.Accept()
		switch {
		case err == nil:
			c.Close()
		case !errors.Is(err, net.ErrClosed):
			select { // no more files, perhaps
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
}

// serve answers what comes to one socket, until it is closed.
func (s *Server) serve(ctx context.Context, name Socket, c *net.UDPConn, socks map[Socket]*net.UDPConn) error {
	buf := make([]byte, message.MaxPadded+1)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("server: %w", err)
		case err != nil:
			// What an earlier answer met, a closed port perhaps.
			s.cfg.Logger.Debug("read", "socket", c.LocalAddr(), "err", err)
			continue
		}
		s.mu.Lock()
		p, ok := s.machine.Receive(time.Now(), name, from, buf[:n])
		s.mu.Unlock()
		if ok {
			s.write(socks, p)
		}
		if name == PeerSocket {
			s.tellPeer()
		}
	}
}

// greet tells the peer that this host is there, until ctx ends.
func (s *Server) greet(ctx context.Context, socks map[Socket]*net.UDPConn) {
	for {
		now := time.Now()
		s.mu.Lock()
		out, next := s.machine.Tick(now)
		s.mu.Unlock()
		for _, p := range out {
			s.write(socks, p)
		}
		s.tellPeer()
		select {
		case <-ctx.Done():
			return
		case <-time.After(next.Sub(now)):
		}
	}
}

// tellPeer calls OnPeer if what it was told last is no longer so.
func (s *Server) tellPeer() {
	s.mu.Lock()
	alive := s.machine.PeerAlive(time.Now())
	changed := alive != s.alive
	s.alive = alive
	s.mu.Unlock()
	if changed {
		s.cfg.Logger.Info("peer", "alive", alive)
		if s.cfg.OnPeer != nil {
			s.cfg.OnPeer(alive)
		}
	}
}

func (s *Server) write(socks map[Socket]*net.UDPConn, p Packet) {
	if _, err := socks[p.From].WriteToUDPAddrPort(p.Data, p.To); err != nil {
		s.cfg.Logger.Debug("write", "to", p.To, "err", err)
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"shipworm/ra/channel"
	"shipworm/ra/invite"
	"shipworm/teredo"
	"shipworm/testnet/matrix"
	"shipworm/testnet/sim"
)

// raMethod is Remote Assistance over Teredo: A, the Helper, opens the
// connection to B, the User who invited him. They are connected when the
// password was proved and the control stream carries a byte each way.
type raMethod struct{}

func (raMethod) Name() string             { return "ra" }
func (raMethod) Title() string            { return "Remote Assistance over Teredo" }
func (raMethod) Describe(b []byte) string { return teredoMethod{}.Describe(b) }

// Try is a whole life of both programs, but for files, screens and people.
func (m raMethod) Try(ctx context.Context, s *matrix.Stage, ready func()) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer func() { cancel(); running.Wait() }()
	addrs := s.Server.Addrs()
	server, err := teredo.NewServer(teredo.ServerConfig{Primary: addrs[0], Secondary: addrs[1], Listen: simListen(s.Server)})
	if err != nil {
		return err
	}
	running.Go(func() { _ = server.Run(ctx) })
	var clients [2]*teredo.Client
	for i, h := range []*sim.Host{s.A, s.B} {
		clients[i], err = teredo.NewClient(teredo.ClientConfig{
			Server: addrs[0].String(), Secondary: addrs[1].String(), Policy: teredo.Policy{Own: h.Addrs()},
			Listen: simListen(h), Rand: seededRand(s.Seed, i),
		})
		if err != nil {
			return err
		}
		running.Go(func() { _ = clients[i].Run(ctx) })
	}
	var qualified [2]teredo.Address
	for i, c := range clients {
		if qualified[i], err = awaitAddress(ctx, c); err != nil {
			return err
		}
	}

	invitation, err := invite.New("B", time.Hour, time.Now())
	if err != nil {
		return err
	}
	identity, hash := channel.NewIdentity()
	invitation.CertHash = hash
	password := invite.NewPassword()
	user, err := clients[1].ListenPacket(ctx, 0)
	if err != nil {
		return err
	}
	defer user.Close()
	listener, err := channel.Listen(user, channel.ListenConfig{Invitation: invitation, Password: password, Identity: identity})
	if err != nil {
		return err
	}
	defer listener.Close()
	running.Go(func() { echoControl(ctx, listener) })

	helper, err := clients[0].ListenPacket(ctx, 0)
	if err != nil {
		return err
	}
	defer helper.Close()
	to := netip.AddrPortFrom(qualified[1].Addr(), uint16(user.LocalAddr().(*net.UDPAddr).Port))
	ready()
	return callControl(ctx, helper, to, channel.DialConfig{Invitation: invitation, Password: password})
}

// awaitAddress waits until the client has an address, however often its server
// was silent: the matrix has a limit of its own.
func awaitAddress(ctx context.Context, c *teredo.Client) (teredo.Address, error) {
	for {
		a, err := c.WaitQualified(ctx)
		if err == nil || !errors.Is(err, teredo.ErrServerSilent) {
			return a, err
		}
		select {
		case <-ctx.Done():
			return a, context.Cause(ctx)
		case <-time.After(time.Second):
		}
	}
}

// echoControl is the User's side: it returns the Helper's byte.
func echoControl(ctx context.Context, l *channel.Listener) {
	conn, err := l.Accept(ctx)
	if err != nil {
		return
	}
	defer conn.Close(0, "done")
	_, stream, err := conn.AcceptStream(ctx)
	if err != nil {
		return
	}
	b := make([]byte, 1)
	if _, err := stream.Read(b); err == nil {
		_, _ = stream.Write(b)
	}
	select {
	case <-conn.Done():
	case <-ctx.Done():
	}
}

// callControl is the Helper's side.
func callControl(ctx context.Context, pc net.PacketConn, to netip.AddrPort, cfg channel.DialConfig) error {
	conn, err := channel.Dial(ctx, pc, to, cfg)
	if err != nil {
		return err
	}
	defer conn.Close(0, "done")
	stream, err := conn.OpenStream(ctx, channel.KindControl)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { stream.CancelRead(0) })()
	if _, err := stream.Write([]byte{1}); err != nil {
		return err
	}
	b := make([]byte, 1)
	if n, err := stream.Read(b); n == 0 {
		return fmt.Errorf("control stream: %w", err)
	}
	return nil
}

// simListen makes a Listen hook of a simulated host.
func simListen(h *sim.Host) func(context.Context, netip.AddrPort) (net.PacketConn, error) {
	return func(_ context.Context, local netip.AddrPort) (net.PacketConn, error) { return h.ListenPacket(local) }
}

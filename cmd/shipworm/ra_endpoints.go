package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

	"shipworm/ra"
	"shipworm/ra/invite"
	"shipworm/upnp"
)

// The User's sockets are at random ports of the dynamic range, as at the source.
const (
	minRAPort = 49152
	maxRAPort = 65535
	// portTries fail once in a million starts where half of the range is taken.
	portTries = 20
)

// mapPatience is how long an invitation waits for the router to open a port:
// as long as an attempt by every protocol takes.
const mapPatience = 3200 * time.Millisecond

// restPatience is how long an invitation that could be written waits for the
// networks that are missing. A Teredo client has asked four times by then, of
// which one in ten thousand is not answered where one packet in twenty is lost.
const restPatience = 4 * time.Second

var errTooLate = fmt.Errorf("no answer yet after %v", restPatience)

// raEndpoints are the sockets at which the User waits, and what keeps them
// reachable.
type raEndpoints struct {
	stderr io.Writer
	ports  *upnp.Mapper // nil if the router is asked for nothing
	ctx    context.Context
	stop   context.CancelFunc
	keeps  sync.WaitGroup
	list   []ra.Endpoint
	tunnel *teredoNetwork
}

// A raSource opens one endpoint.
type raSource struct {
	kind string
	open func(ctx context.Context) (ra.Endpoint, error)
}

func newRAEndpoints(ports *upnp.Mapper, stderr io.Writer) *raEndpoints {
	e := &raEndpoints{ports: ports, stderr: stderr}
	e.ctx, e.stop = context.WithCancel(context.Background())
	return e
}

// open opens the sources, all at once; list is in their order. Once there is one
// that strangers may reach the others have restPatience. It fails if none opens.
func (e *raEndpoints) open(ctx context.Context, sources []raSource) error {
	got := make([]ra.Endpoint, len(sources))
	errs := make([]error, len(sources))
	waited, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	opened := make(chan int, len(sources))
	for i, s := range sources {
		go func() {
			got[i], errs[i] = s.open(waited)
			opened <- i
		}()
	}
	missing := map[int]bool{}
	for i := range sources {
		missing[i] = true
	}
	tell := time.After(time.Second)
	var rest <-chan time.Time
	for len(missing) > 0 {
		select {
		case i := <-opened:
			delete(missing, i)
			if errs[i] == nil && sources[i].kind != invite.LAN && rest == nil {
				rest = time.After(restPatience)
			}
		case <-tell:
			e.tellWaiting(sources, missing)
		case <-rest:
			giveUp(errTooLate)
		}
	}
	for i := range sources {
		if errs[i] == nil {
			e.list = append(e.list, got[i])
		}
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case len(sources) == 1:
		return raNetworkError(ctx, errs[0])
	case len(e.list) == 0:
		for i, s := range sources {
			errs[i] = fmt.Errorf("%s: %w", s.kind, errs[i])
		}
		all := errors.Join(errs...)
		return withHint(negativeError(oneLine(all)), hintOf(raNetworkError(ctx, all)))
	}
	for i, s := range sources {
		if errs[i] != nil {
			fmt.Fprintf(e.stderr, "without %s: %v\n", s.kind, errs[i])
		}
	}
	return nil
}

// tellWaiting says on a terminal what is waited for.
func (e *raEndpoints) tellWaiting(sources []raSource, missing map[int]bool) {
	f, ok := e.stderr.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return
	}
	var names []string
	for i, s := range sources {
		if missing[i] {
			names = append(names, s.kind)
		}
	}
	fmt.Fprintf(e.stderr, "waiting for %s ...\n", strings.Join(names, ", "))
}

// close closes the sockets and has the router close its ports.
func (e *raEndpoints) close() {
	e.stop()
	if e.tunnel != nil {
		e.tunnel.stop()
	}
	for _, p := range e.list {
		p.Conn.Close()
	}
	e.keeps.Wait()
	if e.tunnel != nil {
		e.tunnel.close()
	}
}

// kernel is the source of a socket of the kernel's that is reached at its own
// address. The router of an IPv6 address is asked to let the Helper in; whether
// it must be asked nobody knows.
func (e *raEndpoints) kernel(kind string, addr netip.Addr) raSource {
	return raSource{kind, func(ctx context.Context) (ra.Endpoint, error) {
		pc, err := listenDynamic(ctx, addr)
		if err != nil {
			return ra.Endpoint{}, err
		}
		at := netip.AddrPortFrom(addr, portOf(pc))
		if kind == invite.IPv6 && e.ports != nil {
			e.keep(e.ctx, at, func(upnp.Mapping) {})
		}
		return ra.Endpoint{Kind: kind, Addr: at, Conn: pc}, nil
	}}
}

// mapped is the source of a port that the router leads to this host.
func (e *raEndpoints) mapped() raSource {
	return raSource{invite.Mapped, func(ctx context.Context) (got ra.Endpoint, err error) {
		pc, err := listenDynamic(ctx, netip.IPv4Unspecified())
		if err != nil {
			return ra.Endpoint{}, err
		}
		keep, stop := context.WithCancel(e.ctx)
		defer func() {
			if err != nil {
				stop()
				pc.Close()
			}
		}()
		first := make(chan upnp.Mapping, 1)
		var promised netip.AddrPort
		e.keep(keep, netip.AddrPortFrom(netip.IPv4Unspecified(), portOf(pc)), func(now upnp.Mapping) {
			switch {
			case !promised.IsValid():
				promised = now.External
				first <- now
			case !now.IsValid():
				fmt.Fprintf(e.stderr, "the router has closed %v; trying again\n", promised)
			case now.External == promised:
				fmt.Fprintf(e.stderr, "the router has opened %v again\n", promised)
			default:
				fmt.Fprintf(e.stderr, "the router has opened %v, but the invitation says %v\n", now.External, promised)
			}
		})
		patience := time.NewTimer(mapPatience)
		defer patience.Stop()
		select {
		case m := <-first:
			return ra.Endpoint{Kind: invite.Mapped, Addr: m.External, Conn: pc}, unreachableMapping(m)
		case <-patience.C:
			return ra.Endpoint{}, errNoMapping
		case <-ctx.Done():
			return ra.Endpoint{}, context.Cause(ctx)
		}
	}}
}

var errNoMapping = errors.New("the router opens no port")

// unreachableMapping says why nobody outside reaches a mapping.
func unreachableMapping(m upnp.Mapping) error {
	switch {
	case !m.External.Addr().IsValid():
		return errors.New("the router opens a port, but does not tell its address")
	case m.DoubleNAT:
		return fmt.Errorf("the router opens a port, but its address %v is behind another NAT", m.External.Addr())
	}
	return nil
}

// keep keeps a port of the router open until ctx ends.
func (e *raEndpoints) keep(ctx context.Context, at netip.AddrPort, changed func(upnp.Mapping)) {
	e.keeps.Go(func() {
		_ = e.ports.Keep(ctx, upnp.Request{Protocol: upnp.UDP, Internal: at, Lifetime: raLease}, changed)
	})
}

// teredo is the source of a socket of the Teredo client's. No port is opened for
// the client: whoever would reach it by that reaches the mapped one directly.
func (e *raEndpoints) teredo(f teredoFlags, log *slog.Logger) raSource {
	return raSource{invite.Teredo, func(ctx context.Context) (ra.Endpoint, error) {
		tunnel, err := startTeredo(f, nil, log)
		if err != nil {
			return ra.Endpoint{}, err
		}
		e.tunnel = tunnel
		var addr netip.Addr
		tunnel.told = func(a netip.Addr) { addr = a; tellTeredo(e.stderr)(a) }
		pc, err := listenDynamicly(func(port uint16) (net.PacketConn, error) {
			if err := tunnel.qualified(ctx); err != nil {
				return nil, err
			}
			return tunnel.client.ListenPacket(ctx, port)
		})
		if err != nil {
			tunnel.stop()
			return ra.Endpoint{}, err
		}
		return ra.Endpoint{Kind: invite.Teredo, Addr: netip.AddrPortFrom(addr, portOf(pc)), Conn: pc}, nil
	}}
}

// ownIPv6 is the address from which this host speaks to the IPv6 Internet, the
// zero Addr if it does not. Nothing is sent.
func ownIPv6() netip.Addr {
	return localAddrTo("[2000::1]:9", func(a netip.Addr) bool {
		return a.IsGlobalUnicast() && !a.IsPrivate() &&
			!netip.MustParsePrefix("2001::/32").Contains(a) && !netip.MustParsePrefix("2002::/16").Contains(a)
	})
}

// ownLAN is the IPv4 address that this host has on its own network.
func ownLAN() netip.Addr { return localAddrTo("192.0.2.1:9", netip.Addr.IsGlobalUnicast) }

func localAddrTo(remote string, fits func(netip.Addr) bool) netip.Addr {
	c, err := net.Dial("udp", remote)
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	if a := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(); fits(a) {
		return a
	}
	return netip.Addr{}
}

// listenAt opens a socket of the kernel.
func listenAt(ctx context.Context, at netip.AddrPort) (net.PacketConn, error) {
	network := "udp6"
	if at.Addr().Is4() {
		network = "udp4"
	}
	return new(net.ListenConfig).ListenPacket(ctx, network, at.String())
}

func listenDynamic(ctx context.Context, addr netip.Addr) (net.PacketConn, error) {
	return listenDynamicly(func(port uint16) (net.PacketConn, error) { return listenAt(ctx, netip.AddrPortFrom(addr, port)) })
}

// listenDynamicly listens at a random port of the dynamic range.
func listenDynamicly(listen func(port uint16) (net.PacketConn, error)) (pc net.PacketConn, err error) {
	for range portTries {
		port := minRAPort + rand.IntN(maxRAPort-minRAPort+1)
		if pc, err = listen(uint16(port)); err == nil || !errors.Is(err, syscall.EADDRINUSE) {
			return pc, err
		}
	}
	return nil, err
}

func portOf(pc net.PacketConn) uint16 {
	if u, ok := pc.LocalAddr().(*net.UDPAddr); ok {
		return u.AddrPort().Port()
	}
	ap, _ := netip.ParseAddrPort(pc.LocalAddr().String())
	return ap.Port()
}

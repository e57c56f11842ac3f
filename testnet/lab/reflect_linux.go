package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Ports of Reflect. RFC 862 gives the echo service port 7, in UDP and TCP.
const (
	EchoPort = 7
	HTTPPort = 80
)

// maxReflectConns bounds the TCP connections that one address echoes at once.
const maxReflectConns = 256

// Reflect serves three small things on every address of the host, but for its
// link-local one, until the
// laboratory is closed: an echo on [EchoPort] in UDP and TCP, and on [HTTPPort]
// a page that is the client's address and port as the host sees them, which
// behind a NAT is the mapped endpoint. It returns when all of them listen.
func (h *Host) Reflect() error {
	for _, addr := range h.addrs {
		if addr.IsLinkLocalUnicast() {
			continue
		}
		if err := h.reflect(addr); err != nil {
			return fmt.Errorf("lab: host %s: %w", h.name, err)
		}
	}
	return nil
}

func (h *Host) reflect(addr netip.Addr) error {
	var (
		udp       net.PacketConn
		echo, web net.Listener
		lc        net.ListenConfig
		err       error
	)
	err = h.Do(func() error {
		at := func(port uint16) string { return netip.AddrPortFrom(addr, port).String() }
		var e1, e2, e3 error
		udp, e1 = lc.ListenPacket(h.lab.ctx, "udp", at(EchoPort))
		echo, e2 = lc.Listen(h.lab.ctx, "tcp", at(EchoPort))
		web, e3 = lc.Listen(h.lab.ctx, "tcp", at(HTTPPort))
		return errors.Join(e1, e2, e3)
	})
	closeAll := func() {
		if udp != nil {
			udp.Close()
		}
		for _, l := range []net.Listener{echo, web} {
			if l != nil {
				l.Close()
			}
		}
	}
	if err != nil {
		closeAll()
		return err
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintln(w, r.RemoteAddr)
		}),
		ReadHeaderTimeout: 10 * time.Second,
	}
	h.lab.mu.Lock()
	defer h.lab.mu.Unlock()
	if h.lab.ctx.Err() != nil {
		closeAll()
		return net.ErrClosed
	}
	wg := &h.lab.servers
	wg.Go(func() { echoPackets(udp) })
	wg.Go(func() { echoStreams(h.lab.ctx, wg, echo) })
	wg.Go(func() { _ = server.Serve(web) })
	wg.Go(func() {
		<-h.lab.ctx.Done()
		closeAll()
		server.Close()
	})
	return nil
}

func echoPackets(pc net.PacketConn) {
	buf := make([]byte, 65535)
	for {
		n, from, err := pc.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_, _ = pc.WriteTo(buf[:n], from)
		}
	}
}

func echoStreams(ctx context.Context, wg *sync.WaitGroup, l net.Listener) {
	slots := make(chan struct{}, maxReflectConns)
	for {
		slots <- struct{}{}
		c, err := l.Accept()
		if err != nil {
			return // only closing the listener ends it
		}
		stop := context.AfterFunc(ctx, func() { c.Close() })
		wg.Go(func() {
			_, _ = io.Copy(c, c)
			stop()
			c.Close()
			<-slots
		})
	}
}

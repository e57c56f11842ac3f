package tun

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"shipworm/teredo/packet"
	"shipworm/teredo/wire"
)

// Router is the native side of a public relay: an interface to which the kernel
// routes what is for Teredo clients, and from which it takes what they send to
// native nodes. It has no address and no filter; the kernel must be told to
// forward (net.ipv6.conf.all.forwarding). It implements teredo.Device, and its
// methods may be called from any goroutine.
type Router struct {
	dev    device
	name   string
	closed atomic.Bool
	lost   atomic.Uint64
	broken atomic.Pointer[error] // why it was closed
	ended  chan struct{}         // by Close
	worker sync.WaitGroup

	toKernel [][]byte // of WriteBatch, which one goroutine calls
}

// routerMetric is that of the route to 2001::/32: who runs a public relay wants
// it used, in place of a default route as well as of another relay.
const routerMetric = 512

// NewRouter makes the interface and the route to it, which needs CAP_NET_ADMIN.
// The Router must be closed. Only Linux routes into it; elsewhere NewRouter
// fails with errors.ErrUnsupported. Plain moves one packet a system call, as
// Config.Plain does.
func NewRouter(name string, plain bool) (*Router, error) {
	dev, name, err := open(name, plain)
	if err != nil {
		return nil, err
	}
	if err := prepare(name, routerMetric, wire.Prefix()); err != nil {
		dev.Close()
		return nil, fmt.Errorf("tun: %w", err)
	}
	r := &Router{dev: dev, name: name, ended: make(chan struct{})}
	r.worker.Go(r.watch)
	return r, nil
}

// watch breaks a Router whose route somebody took away: it has no privilege
// left to put it back, and who starts it again has.
func (r *Router) watch() {
	look := time.NewTicker(keepEvery)
	defer look.Stop()
	for {
		select {
		case <-look.C:
		case <-r.ended:
			return
		}
		if err := checkRoute(r.name); err != nil {
			err = fmt.Errorf("tun: %s: %w", r.name, err)
			r.broken.Store(&err)
			r.shut()
			return
		}
	}
}

// Name returns the interface's name.
func (r *Router) Name() string { return r.name }

// Lost returns how many packets the kernel did not take.
func (r *Router) Lost() uint64 { return r.lost.Load() }

// SetAddr does nothing: a router is no host.
func (r *Router) SetAddr(netip.Addr) error { return nil }

// ReadBatch waits for packets for Teredo clients.
func (r *Router) ReadBatch(pkts []packet.Packet) (int, error) {
	if len(pkts) == 0 {
		return 0, nil
	}
	n, err := r.dev.read(pkts)
	switch {
	case err == nil:
	case r.broken.Load() != nil:
		return 0, *r.broken.Load()
	case r.closed.Load():
		return 0, net.ErrClosed
	default:
		return 0, readFailure(r.name, err)
	}
	return n, nil
}

// WriteBatch hands packets from clients to the kernel, which routes them on.
// One goroutine writes at a time.
func (r *Router) WriteBatch(pkts []packet.Packet) (int, error) {
	if r.closed.Load() {
		return 0, net.ErrClosed
	}
	r.toKernel = r.toKernel[:0]
	for i := range pkts {
		for b := range pkts[i].Datagrams() {
			r.toKernel = append(r.toKernel, b)
		}
	}
	n := r.dev.write(r.toKernel)
	r.lost.Add(uint64(len(r.toKernel) - n))
	return n, nil
}

// Close removes the interface and unblocks ReadBatch.
func (r *Router) Close() error {
	r.shut()
	r.worker.Wait()
	return nil
}

func (r *Router) shut() {
	if !r.closed.Swap(true) {
		close(r.ended)
		r.dev.Close() // nothing of it is left to fail on
	}
}

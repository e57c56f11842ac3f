package tun

import (
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"shipworm/internal/nic"
	"shipworm/teredo/packet"
	"shipworm/teredo/wire"
)

// Router is the native side of a public relay: an interface to which the kernel
// routes what is for Teredo clients, and from which it takes what they send to
// native nodes. It has no address and no filter; the kernel must be told to
// forward (net.ipv6.conf.all.forwarding). It implements teredo.Device, and its
// methods may be called from any goroutine.
type Router struct {
	dev    *nic.TUN
	closed atomic.Bool
	lost   atomic.Uint64

	bufs  [][]byte // of ReadBatch, which one goroutine calls
	sizes []int
}

// routerMetric is that of the route to 2001::/32: who runs a public relay wants
// it used, in place of a default route as well as of another relay.
const routerMetric = 512

// NewRouter makes the interface and the route to it, which needs CAP_NET_ADMIN.
// The Router must be closed. Only Linux routes into it; elsewhere NewRouter
// fails with errors.ErrUnsupported.
func NewRouter(name string) (*Router, error) {
	dev, err := nic.OpenTUN(name, false)
	if err != nil {
		return nil, fmt.Errorf("tun: %w", err)
	}
	if err := prepare(dev.Name(), routerMetric, wire.Prefix()); err != nil {
		dev.Close()
		return nil, fmt.Errorf("tun: %w", err)
	}
	return &Router{dev: dev}, nil
}

// Name returns the interface's name.
func (r *Router) Name() string { return r.dev.Name() }

// Lost returns how many packets the kernel did not take.
func (r *Router) Lost() uint64 { return r.lost.Load() }

// SetAddr does nothing: a router is no host.
func (r *Router) SetAddr(netip.Addr) error { return nil }

// ReadBatch waits for packets for Teredo clients.
func (r *Router) ReadBatch(pkts []packet.Packet) (int, error) {
	if len(pkts) == 0 {
		return 0, nil
	}
	if cap(r.bufs) < len(pkts) {
		r.bufs, r.sizes = make([][]byte, len(pkts)), make([]int, len(pkts))
	}
	bufs, sizes := r.bufs[:len(pkts)], r.sizes[:len(pkts)]
	for i := range pkts {
		bufs[i] = pkts[i].Buf[packet.Headroom:]
	}
	n, err := r.dev.ReadMany(bufs, sizes)
	switch {
	case err == nil:
	case r.closed.Load():
		return 0, net.ErrClosed
	default:
		return 0, fmt.Errorf("tun: %s: %w", r.Name(), err)
	}
	for i := range n {
		pkts[i].Off, pkts[i].Len, pkts[i].Segment = packet.Headroom, sizes[i], 0
	}
	return n, nil
}

// WriteBatch hands packets from clients to the kernel, which routes them on.
func (r *Router) WriteBatch(pkts []packet.Packet) (int, error) {
	n := 0
	for i := range pkts {
		if _, err := r.dev.Write(pkts[i].Data()); err != nil {
			if r.closed.Load() {
				return n, net.ErrClosed
			}
			r.lost.Add(1)
			continue
		}
		n++
	}
	return n, nil
}

// Close removes the interface and unblocks ReadBatch.
func (r *Router) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	return r.dev.Close()
}

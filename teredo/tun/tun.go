// Package tun ends a Teredo tunnel in the host's own kernel: a TUN device with
// the Teredo address, through which every program of the machine reaches the
// Teredo network and, through relays, native IPv6.
//
// What the kernel would do with a stranger's packet does not matter: between
// the tunnel and the device stands teredo/firewall, which lets in only what
// belongs to flows that the host began, and ports that were opened by name
// (Open). Packets with a foreign source are answered with an ICMPv6 error,
// "administratively prohibited", so that a program that chose the wrong
// address tries the next one at once.
//
// The device is not persistent: when it is closed, or its process is killed,
// it goes, and its address and routes with it. Making it needs CAP_NET_ADMIN,
// and so does every change of the address afterwards: a process that gives its
// privileges up leaves that one task to a helper, see Config.Assign and
// ServeAssign. Only Linux gives addresses and routes; elsewhere New fails with
// errors.ErrUnsupported, because a device without them is of no use.
//
//	dev, err := tun.New(tun.Config{Name: "teredo"})
//	client, err := teredo.NewClient(teredo.ClientConfig{Device: dev, ...})
package tun

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"shipworm/internal/nic"
	"shipworm/teredo/firewall"
	"shipworm/teredo/packet"
	"shipworm/teredo/wire"
)

// Metric is that of the routes: native ones, which have up to some 1,000, win.
const Metric = 10000

// Config configures a Device. Only Name must be set.
type Config struct {
	// Name of the interface: at most 15 characters, and not in use.
	Name string

	// DefaultRoute sends all IPv6 traffic into the tunnel that no better route
	// takes, besides that to other Teredo hosts.
	DefaultRoute bool

	// NoEcho keeps ICMPv6 echo requests from the host.
	NoEcho bool

	// Assign gives the interface its address in place of any other; the zero
	// Addr takes it away. It is called by one goroutine and may take its time,
	// and is called with the same address every few seconds, to put back what
	// somebody took away. nil means that this process does it itself, with
	// CAP_NET_ADMIN: NewAssign.
	Assign func(netip.Addr) error

	// Plain moves one packet a system call, without the help of the kernel
	// that Linux offers: for kernels that do it wrong, and for tests.
	Plain bool

	// Logger hears of trouble; nil discards.
	Logger *slog.Logger
}

// Device is a TUN device with a filter; it implements teredo.Device. Its
// methods may be called from any goroutine.
type Device struct {
	name   string
	dev    device
	log    *slog.Logger
	assign func(netip.Addr) error
	drops  [firewall.NumVerdicts]atomic.Uint64
	lost   atomic.Uint64

	mu      sync.Mutex // guards what follows
	filter  *firewall.Filter
	answers answers
	failure error
	closed  bool

	addrs  chan netip.Addr // the latest that is to be assigned
	ended  chan struct{}   // closed by Close
	worker sync.WaitGroup

	toHost  [][]byte   // of WriteBatch
	writing sync.Mutex // held over writes to dev
}

// New makes the interface, without an address but with its routes. The Device
// must be closed.
func New(c Config) (*Device, error) {
	dev, name, err := open(c.Name, c.Plain)
	if err != nil {
		return nil, err
	}
	if err := prepare(name, Metric, hostRoutes(c.DefaultRoute)...); err != nil {
		dev.Close()
		return nil, fmt.Errorf("tun: %w", err)
	}
	fitRuns(name)
	if c.Assign == nil {
		c.Assign = NewAssign(name, c.DefaultRoute)
	}
	return newDevice(c, name, dev), nil
}

// hostRoutes are those of a host's interface.
func hostRoutes(defaultRoute bool) []netip.Prefix {
	routes := []netip.Prefix{wire.Prefix()}
	if defaultRoute {
		routes = append(routes, netip.PrefixFrom(netip.IPv6Unspecified(), 0))
	}
	return routes
}

// prepare readies an interface, and routes into it.
func prepare(name string, metric int, routes ...netip.Prefix) error {
	link, err := nic.Find(name)
	if err != nil {
		return err
	}
	if err := link.NoLinkLocal(); err != nil {
		return err
	}
	if err := link.SetMTU(wire.MTU); err != nil {
		return err
	}
	if err := link.Up(); err != nil {
		return err
	}
	for _, to := range routes {
		if err := link.AddRoute(nic.Route{To: to, Metric: metric}); err != nil {
			return err
		}
	}
	return nil
}

// runSegments is how many packets of a Teredo link fit into a UDP datagram, in
// which a run of them goes through the kernel: a super-packet of more takes two.
const runSegments = 65507 / wire.MTU

// fitRuns has the host make its super-packets no longer. Those that it only
// forwards it would have to cut into packets, so that a Router's are left alone.
func fitRuns(name string) {
	if link, err := nic.Find(name); err == nil {
		_ = link.SetSegments(runSegments) // or some runs are short
	}
}

func newDevice(c Config, name string, dev device) *Device {
	d := &Device{
		name: name, dev: dev, log: c.Logger, assign: c.Assign,
		filter: firewall.New(firewall.Config{NoEcho: c.NoEcho}),
		addrs:  make(chan netip.Addr, 1), ended: make(chan struct{}),
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.worker.Go(d.assigner)
	return d
}

// Name returns the interface's name.
func (d *Device) Name() string { return d.name }

// Open lets everybody reach a port of the host, until ClosePort.
func (d *Device) Open(p firewall.Port) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.filter.Open(p)
}

// ClosePort undoes Open at once, for connections that stand as well.
func (d *Device) ClosePort(p firewall.Port) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.filter.Close(p)
}

// Drops returns how many packets did not pass, by reason; reasons that never
// applied are absent.
func (d *Device) Drops() map[string]uint64 {
	m := map[string]uint64{}
	for v := firewall.Pass + 1; v < firewall.NumVerdicts; v++ {
		if n := d.drops[v].Load(); n > 0 {
			m[v.String()] = n
		}
	}
	if n := d.lost.Load(); n > 0 {
		m["device"] = n
	}
	return m
}

// ReadBatch waits for packets that the host sends and keeps those that the
// filter lets pass. One goroutine reads at a time.
func (d *Device) ReadBatch(pkts []packet.Packet) (int, error) {
	if len(pkts) == 0 {
		return 0, nil
	}
	for {
		n, err := d.dev.read(pkts)
		if err != nil {
			return 0, d.readError(err)
		}
		kept, answers := d.outbound(pkts, n)
		if len(answers) > 0 {
			d.toDevice(answers)
		}
		if kept > 0 {
			return kept, nil
		}
	}
}

// outbound judges the first n packets, a run by its first, and moves those that
// pass to the front. Those who may not enter the tunnel get answers.
func (d *Device) outbound(pkts []packet.Packet, n int) (kept int, answers [][]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for i := range n {
		b := pkts[i].Data()
		if size := pkts[i].Segment; size > 0 {
			b = b[:min(size, len(b))]
		}
		if v := d.filter.Outbound(now, b); v != firewall.Pass {
			d.drops[v].Add(1)
			if v == firewall.Spoofed {
				if answer := d.answers.prohibited(now, b); answer != nil {
					answers = append(answers, bytes.Clone(answer))
				}
			}
			continue
		}
		if size := pkts[i].Segment; size > 0 {
			// The last of a run may be the one that ends the flow.
			all := pkts[i].Data()
			d.filter.Outbound(now, all[(len(all)-1)/size*size:])
		}
		// Exchanged, so that every packet keeps a buffer of its own.
		pkts[kept], pkts[i] = pkts[i], pkts[kept]
		kept++
	}
	return kept, answers
}

// toDevice writes packets, and counts those that the kernel does not take. The
// filter's lock is not held meanwhile, so that the two directions do not wait
// for each other.
func (d *Device) toDevice(pkts [][]byte) int {
	d.writing.Lock()
	defer d.writing.Unlock()
	n := d.dev.write(pkts)
	d.lost.Add(uint64(len(pkts) - n))
	return n
}

func (d *Device) readError(err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.failure != nil:
		return d.failure
	case d.closed:
		return net.ErrClosed
	}
	return readFailure(d.name, err)
}

func readFailure(name string, err error) error {
	if removed(err) {
		err = errors.New("somebody removed the interface")
	}
	return fmt.Errorf("tun: %s: %w", name, err)
}

// WriteBatch hands packets from the tunnel to the host, those that the filter
// lets pass, and returns how many. One goroutine writes at a time.
func (d *Device) WriteBatch(pkts []packet.Packet) (int, error) {
	if !d.inbound(pkts) {
		return 0, net.ErrClosed
	}
	return d.toDevice(d.toHost), nil
}

// inbound puts the packets that pass into toHost, or reports that the device is
// closed.
func (d *Device) inbound(pkts []packet.Packet) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.toHost = d.toHost[:0]
	var last []byte // that passed
	for i := range pkts {
		for b := range pkts[i].Datagrams() {
			if !firewall.Continues(last, b) {
				if v := d.filter.Inbound(now, b); v != firewall.Pass {
					d.drops[v].Add(1)
					continue
				}
				last = b
			}
			d.toHost = append(d.toHost, b)
		}
	}
	return !d.closed
}

// SetAddr gives the interface its address. The filter knows it at once, the
// kernel a moment later: the packets do not wait for that. If the kernel
// refuses, the device is broken, and ReadBatch says why.
func (d *Device) SetAddr(addr netip.Addr) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return net.ErrClosed
	}
	d.filter.SetAddr(addr)
	select { // what was not assigned yet need not be any more
	case <-d.addrs:
	default:
	}
	d.addrs <- addr
	return nil
}

// keepEvery is how often the interface is looked after: a person or a program
// that manages networks may take its address or a route away.
const keepEvery = 5 * time.Second

// assigner assigns the addresses, one after the other, and keeps the last.
func (d *Device) assigner() {
	var a netip.Addr
	keep := time.NewTicker(keepEvery)
	defer keep.Stop()
	for {
		select {
		case a = <-d.addrs:
		case <-keep.C:
			if !a.IsValid() {
				continue
			}
		case <-d.ended:
			return
		}
		if err := d.assign(a); err != nil {
			d.fail(fmt.Errorf("tun: %s: keep its address right: %w", d.name, err))
			return
		}
	}
}

// fail breaks the device.
func (d *Device) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.log.Error("the device is of no use any more", "err", err)
		d.failure = err
		d.shut()
	}
}

func (d *Device) shut() {
	d.closed = true
	close(d.ended)
	d.dev.Close() // nothing of it is left to fail on
}

// Close removes the interface and unblocks ReadBatch.
func (d *Device) Close() error {
	d.mu.Lock()
	if !d.closed {
		d.shut()
	}
	d.mu.Unlock()
	d.worker.Wait()
	return nil
}

package teredo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/packet"
	"shipworm/teredo/udp"
)

// RelayConfig configures a Relay. Only Open must be set.
type RelayConfig struct {
	// Open makes the native side, when Run starts: what is routed to Teredo
	// addresses comes out of the Device, what comes from there goes in. Run
	// closes it.
	Open func() (Device, error)

	// Prefixes are the native networks that a public relay serves. Without any
	// the relay is host-specific: it serves one address of this host, Host, and
	// gives that to the Device.
	Prefixes []netip.Prefix

	// Host is the address of a host-specific relay. The zero Addr means the one
	// that the kernel itself would send from, looked at again and again.
	Host netip.Addr

	// Local is the UDP address and port; the zero AddrPort means any and a
	// random one.
	Local netip.AddrPort

	// Direct says that the relay sits behind a NAT, which its own bubbles are to
	// open. It is taken for granted where the host's IPv4 address is private.
	Direct bool

	// Servers are Teredo servers known as such; see engine.RelayConfig.
	Servers []netip.Addr

	// Policy decides where packets may go. If Listen is nil, the host's own
	// addresses and attached subnets are added to it, now and at every change.
	Policy Policy

	// Workers is how many processors take in what clients send; zero means all,
	// and where the system cannot share a port among sockets there is one. One
	// more reads the device.
	Workers int

	// Plain sends and receives datagrams one by one, without the runs that
	// Linux knows: for kernels and network cards that do them wrong.
	Plain bool

	// Listen opens the UDP socket; nil means the kernel.
	Listen func(ctx context.Context, local netip.AddrPort) (net.PacketConn, error)

	// OnReady is called once, when every socket is open.
	OnReady func(RelayState)

	// Logger hears of start, changes and stop at Info; nil discards.
	Logger *slog.Logger

	// Rand is the source of every random choice; nil means crypto/rand.
	Rand io.Reader
}

// RelayState is a snapshot of a Relay.
type RelayState struct {
	engine.RelayState
	Local  netip.AddrPort `json:"local"`
	Served []netip.Prefix `json:"served"`
	Direct bool           `json:"direct"`
	Socket SocketStats    `json:"socket"` // of all together
}

// ErrNoNative says that this host has no native IPv6 address to serve.
var ErrNoNative = errors.New("no native IPv6 address")

// hostCheck is how often the address of a host-specific relay is looked at:
// hosts change theirs by the day (RFC 8981), and more often by hand.
const hostCheck = 10 * time.Second

// Relay is a Teredo relay: the way between Teredo clients and native IPv6, for
// the networks that it is told to serve or for this host alone
// (RFC 4380, 5.4). Its methods may be called from any goroutine.
type Relay struct {
	cfg      RelayConfig
	log      *slog.Logger
	ran      atomic.Bool
	requests chan func(*relaying)
	done     chan struct{}

	mu    sync.Mutex
	final RelayState
}

// NewRelay checks the configuration, with every problem in the error. It opens
// nothing.
func NewRelay(cfg RelayConfig) (*Relay, error) {
	var errs []error
	if cfg.Open == nil {
		errs = append(errs, errors.New("no device"))
	}
	if cfg.Host.IsValid() && len(cfg.Prefixes) > 0 {
		errs = append(errs, errors.New("both prefixes and the address of one host"))
	}
	if l := cfg.Local; l.IsValid() && !l.Addr().Is4() {
		errs = append(errs, fmt.Errorf("local address %v: not IPv4", l.Addr()))
	}
	if !cfg.Local.IsValid() {
		cfg.Local = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	}
	served := cfg.Prefixes
	if len(served) == 0 {
		served = []netip.Prefix{hostPrefix(cfg.Host)}
		if !cfg.Host.IsValid() {
			served[0] = netip.MustParsePrefix("2000::/3") // until it is known
		}
	}
	_, err := engine.NewRelay(engine.RelayConfig{Served: served, Servers: cfg.Servers, Policy: cfg.Policy})
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, fmt.Errorf("teredo: relay: %w", err)
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Relay{cfg: cfg, log: log, requests: make(chan func(*relaying)), done: make(chan struct{})}, nil
}

func hostPrefix(ip netip.Addr) netip.Prefix { return netip.PrefixFrom(ip, ip.BitLen()) }

// relaying is a Relay at work; who touches any of it holds the mover's lock.
type relaying struct {
	mover   // its socket is the first
	sockets []udp.Socket
	r       *Relay
	machine *engine.Relay
	own     half // of loop
	policy  Policy
	local   netip.AddrPort
	served  []netip.Prefix
	direct  bool
}

// Run relays until ctx ends and returns the cause of that, or why it could not:
// an error that is ErrNoNative if there is no address to serve. It may be called
// once.
func (r *Relay) Run(ctx context.Context) error {
	if !r.ran.CompareAndSwap(false, true) {
		return ErrRan
	}
	defer close(r.done)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	device, err := r.cfg.Open()
	if err != nil {
		return fmt.Errorf("teredo: relay: %w", err)
	}
	defer device.Close()
	v := &relaying{r: r, mover: newMover(nil, device), served: r.cfg.Prefixes, direct: r.cfg.Direct}
	if err := v.open(ctx); err != nil {
		return fmt.Errorf("teredo: relay: %w", err)
	}
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.final = v.state()
	}()
	r.log.Info("relaying", "local", v.local, "served", v.served, "behind a NAT", v.direct)
	if r.cfg.OnReady != nil {
		r.cfg.OnReady(v.state())
	}
	news, broken := make(chan string, 1), make(chan error, len(v.sockets)+1)
	var helpers sync.WaitGroup
	for _, s := range v.sockets {
		helpers.Go(func() { broken <- v.run(s.ReadBatch, v.machine.Next, v.machine.ReceiveBatch, something) })
	}
	helpers.Go(func() { broken <- v.run(device.ReadBatch, v.machine.Next, v.send, something) })
	if r.cfg.Listen == nil {
		helpers.Go(func() { watchLinks(ctx, r.log, news) })
	}
	err = v.loop(ctx, news, broken)
	cancel()
	closeAll(v.sockets)
	device.Close()
	helpers.Wait()
	r.log.Info("stopped")
	return err
}

// open finds out what to serve, and opens the socket.
func (v *relaying) open(ctx context.Context) (err error) {
	cfg := &v.r.cfg
	if len(v.served) == 0 {
		host := cfg.Host
		if !host.IsValid() {
			if host = hostAddr(); !host.IsValid() {
				return ErrNoNative
			}
		}
		if err := v.serve(host); err != nil {
			return err
		}
	}
	v.policy = cfg.Policy
	if cfg.Listen == nil {
		if v.policy, err = withLocal(cfg.Policy); err != nil {
			return err
		}
		v.sockets, err = listenShared(ctx, cfg.Local, cfg.Workers, udp.Config{Runs: true, Plain: cfg.Plain})
	} else {
		var pc net.PacketConn
		if pc, err = cfg.Listen(ctx, cfg.Local); err == nil {
			v.sockets = []udp.Socket{udp.From(pc, udp.Config{Runs: true, Plain: cfg.Plain})}
		}
	}
	if err != nil {
		return err
	}
	v.socket = v.sockets[0]
	v.local = v.socket.LocalAddr()
	if v.local.Addr().IsUnspecified() {
		v.local = localAddr(internet, v.local.Port())
	}
	v.direct = v.direct || v.local.Addr().IsPrivate()
	v.machine, err = engine.NewRelay(engine.RelayConfig{
		Served: v.served, Direct: v.direct, Servers: cfg.Servers, Policy: v.policy, Rand: cfg.Rand,
	})
	if err != nil {
		closeAll(v.sockets)
	}
	return err
}

// internet stands for the IPv4 Internet where only a route is looked up.
var internet = netip.AddrFrom4([4]byte{192, 0, 2, 1})

// hostAddr returns the address that the kernel would send from to a Teredo
// client, the zero Addr if it has none that is native.
func hostAddr() netip.Addr { return nativeAddr(netip.AddrFrom16([16]byte{0x20, 0x01, 15: 1})) }

// serve makes host the one that is served.
func (v *relaying) serve(host netip.Addr) error {
	served := []netip.Prefix{hostPrefix(host)}
	if slices.Equal(served, v.served) {
		return nil
	}
	v.served = served
	return v.device.SetAddr(host)
}

// send hands what the device brought to the machine.
func (v *relaying) send(now time.Time, pkts []packet.Packet, out *engine.Output) {
	for i := range pkts {
		v.machine.SendRun(now, pkts[i].Data(), pkts[i].Segment, out)
	}
}

// something reports whether the machine wants anything to be carried: a relay
// wants nothing else.
func something(h *half) bool { return len(h.out.Transmit)+len(h.out.Deliver) > 0 }

func (v *relaying) loop(ctx context.Context, news <-chan string, broken <-chan error) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var check <-chan time.Time
	if len(v.r.cfg.Prefixes) == 0 && !v.r.cfg.Host.IsValid() {
		t := time.NewTicker(hostCheck)
		defer t.Stop()
		check = t.C
	}
	for {
		var do func() // under the lock
		select {
		case <-v.sleep(timer, v.machine.Next):
			do = func() { v.machine.Tick(time.Now(), &v.own.out) }
		case <-v.poke:
			continue
		case <-news:
			do = v.changed
		case <-check:
			do = v.lookAgain
		case f := <-v.r.requests:
			do = func() { f(v) }
		case err := <-broken:
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("teredo: relay: %w", err)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		v.mu.Lock()
		do()
		v.carry(&v.own)
		v.own.out.Reset()
		v.mu.Unlock()
	}
}

// changed brings the policy up to date with the host's addresses.
func (v *relaying) changed() {
	p, err := withLocal(v.r.cfg.Policy)
	if err != nil {
		v.r.log.Warn("keep the old policy", "err", err)
		return
	}
	v.policy = p
	v.machine.SetPolicy(p)
}

// lookAgain goes over to the host's present native address.
func (v *relaying) lookAgain() {
	host := hostAddr()
	if !host.IsValid() || slices.Equal(v.served, []netip.Prefix{hostPrefix(host)}) {
		return // without an address the old one does no harm
	}
	v.r.log.Info("the host's address changed", "address", host)
	if err := errors.Join(v.serve(host), v.machine.SetServed(v.served)); err != nil && !errors.Is(err, net.ErrClosed) {
		v.r.log.Error("serve the host's new address", "address", host, "err", err)
	}
}

func (v *relaying) state() RelayState {
	return RelayState{
		RelayState: v.machine.Snapshot(), Local: v.local, Served: slices.Clone(v.served),
		Direct: v.direct, Socket: statsOf(v.sockets),
	}
}

// State returns the present counters; after Run the last ones.
func (r *Relay) State() RelayState {
	if r.ran.Load() {
		var st RelayState
		served := make(chan struct{})
		select {
		case r.requests <- func(v *relaying) { st = v.state(); close(served) }:
			<-served
			return st
		case <-r.done:
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.final
}

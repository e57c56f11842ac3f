package teredo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/stack"
)

// ClientConfig configures a Client. Only Server must be set.
type ClientConfig struct {
	// Server is the host name or IPv4 address of the Teredo server.
	Server string

	// Secondary is the server's second address or its name; empty for none.
	Secondary string

	// Fallback are further servers. When the one in use does not answer and
	// there is no address any more, the next gets its turn, each once without
	// a pause, then one solicitation after the other: in the end every 300 s.
	Fallback []ServerName

	// Port is the local UDP port; zero means a random one from 49152 to
	// 65535 (RFC 6169, 5.2).
	Port uint16

	// Policy decides where packets may go. If Listen is nil, the host's own
	// addresses and attached subnets are added to it, now and at every
	// change.
	Policy Policy

	// Refresh is the longest time between two solicitations while qualified,
	// 5 s to 45 s; zero means 30 s. RFC 4380, 5.2.
	Refresh time.Duration

	// StrictTimers selects RFC 4380's own retransmission: three
	// solicitations 4 s apart in place of six within 15.5 s.
	StrictTimers bool

	// Credential, unless zero, is for secure qualification: nothing is
	// believed of a server that does not know it.
	Credential Credential

	// LocalDiscovery announces the client on its link by multicast, so that
	// others behind the same NAT find it without a server (RFC 4380, 5.2.8). It
	// needs the kernel's sockets.
	LocalDiscovery bool

	// FindRefresh determines how long the NAT keeps an idle mapping, and
	// lengthens Refresh to that, up to 120 s (RFC 4380, 5.2.7). It spares the
	// server packets; a mapping that is lost is then found later as well.
	FindRefresh bool

	// ConeTest finds out, beside everything else, whether the NAT lets
	// everybody in, for State.Filtering and nothing else (RFC 5991, 3.2). It
	// takes the server's second address, and up to 16 s.
	ConeTest bool

	// NoEcho leaves ICMPv6 echo requests from peers unanswered.
	NoEcho bool

	// Force has the client run where native IPv6 works too. Otherwise Run ends
	// with ErrNative there, at once or as soon as it does.
	Force bool

	// Native reports whether native IPv6 works on this host. nil asks the
	// kernel for an address and a route, or nobody if Listen is set.
	Native func() bool

	// Idle, unless zero, is how long after the last packet of the host's Run
	// ends with ErrIdle: 10 s or more.
	Idle time.Duration

	// Plain sends and receives datagrams one by one, without the runs that
	// Linux knows: for kernels and network cards that do them wrong.
	Plain bool

	// Device is where the tunnel ends; nil means a userspace IPv6 stack.
	// The Client closes it. On a foreign one, ListenPacket, Listen,
	// DialContext and Ping return ErrNoHost.
	Device Device

	// Listen opens the UDP socket; nil means the kernel. It is asked for an
	// unspecified address and a port, and may be asked again for another
	// port.
	Listen func(ctx context.Context, local netip.AddrPort) (net.PacketConn, error)

	// Map gets a port forward to local, the service port as the server's
	// direction shows it, by UPnP, PCP or whatever there is, and keeps it until
	// ctx ends. It tells the outside end, at once and whenever it changes; the
	// zero AddrPort says that there is none any more. An error says that there
	// will be none. Nil: there is nobody to ask. RFC 6081, 3.2.
	Map func(ctx context.Context, local netip.AddrPort, changed func(external netip.AddrPort)) error

	// Resolve looks up the IPv4 addresses of a name; nil means the system's
	// resolver. It runs beside the tunnel and may take its time.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)

	// OnEvent is told what happens, in order, by the goroutine that moves
	// the packets: it must return at once, and not call State, Peer or
	// Refresh, which wait for that goroutine.
	OnEvent func(Event)

	// Logger hears of changes at Info and of details at Debug; nil discards.
	Logger *slog.Logger

	// Rand is the source of every random choice; nil means crypto/rand.
	Rand io.Reader
}

// Client is a Teredo client. All its methods may be called from any goroutine.
type Client struct {
	cfg      ClientConfig
	log      *slog.Logger
	clock    func() time.Duration // goes on in sleep
	ran      atomic.Bool
	serving  atomic.Bool // requests are taken, or Run is about to return
	requests chan func(*running)
	done     chan struct{} // closed when Run has returned

	mu      sync.Mutex
	addr    Address       // live; zero if none
	failure error         // why not, so far
	ended   bool          // Run has returned
	final   State         // from then on
	host    *stack.Stack  // set while Run runs, if the device is one
	changed chan struct{} // closed and replaced at each change
}

// NewClient checks the configuration, with every problem in the error. It
// opens and sends nothing.
func NewClient(cfg ClientConfig) (*Client, error) {
	var errs []error
	errs = append(errs, ServerName{cfg.Server, cfg.Secondary}.check())
	for _, n := range cfg.Fallback {
		errs = append(errs, n.check())
	}
	if cfg.Refresh != 0 && (cfg.Refresh < 5*time.Second || cfg.Refresh > 45*time.Second) {
		errs = append(errs, fmt.Errorf("refresh interval %v: not within 5s to 45s", cfg.Refresh))
	}
	if cfg.Idle != 0 && cfg.Idle < 2*gateEvery {
		errs = append(errs, fmt.Errorf("idle for %v: at least %v", cfg.Idle, 2*gateEvery))
	}
	if k := cfg.Credential; k.ID != "" || k.Key != nil {
		errs = append(errs, k.Check())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("teredo: %w", err)
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if cfg.Resolve == nil {
		cfg.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
		}
	}
	return &Client{
		cfg: cfg, log: log, clock: systemClock,
		requests: make(chan func(*running)),
		done:     make(chan struct{}),
		changed:  make(chan struct{}),
	}, nil
}

// WaitQualified waits for a Teredo address and returns it. It fails when a
// whole series of solicitations went unanswered or Run ended, with a
// *QualifyError where there is one to give, and when ctx ends. Run goes on
// trying after a failed series; another WaitQualified then fails at once until
// it succeeds.
func (c *Client) WaitQualified(ctx context.Context) (Address, error) {
	for {
		c.mu.Lock()
		addr, failure, ended, changed := c.addr, c.failure, c.ended, c.changed
		c.mu.Unlock()
		switch {
		case addr.IsValid():
			return addr, nil
		case failure != nil:
			return Address{}, failure
		case ended:
			return Address{}, net.ErrClosed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Address{}, context.Cause(ctx)
		}
	}
}

// set changes what WaitQualified sees.
func (c *Client) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}

// ask has f called by the goroutine that owns the machine, and waits. It
// reports false, at once, if there is none: before Run, while it still
// resolves the server, and after it.
func (c *Client) ask(f func(*running)) bool {
	if !c.serving.Load() {
		return false
	}
	served := make(chan struct{})
	select {
	case c.requests <- func(r *running) { f(r); close(served) }:
		<-served
		return true
	case <-c.done:
		return false
	}
}

// State is a snapshot of a Client, free to keep and to marshal.
type State struct {
	engine.ClientState

	ServerName string            `json:"server_name"` // as configured
	Port       uint16            `json:"port"`        // as configured; 0 random
	Local      netip.AddrPort    `json:"local"`       // of the socket, as routed to the server
	HostDrops  map[string]uint64 `json:"host_drops,omitempty"`
	Socket     SocketStats       `json:"socket"`

	// HostRetransmits is how many TCP segments the userspace stack sent again.
	HostRetransmits uint64 `json:"host_retransmits,omitempty"`
}

// State returns the present state: until the server is resolved that of a
// client that does nothing, after Run the last one.
func (c *Client) State() State {
	var s State
	if c.ask(func(r *running) { s = r.state() }) {
		return s
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return c.final
	}
	s = State{ServerName: c.cfg.Server, Port: c.cfg.Port}
	if s.Refresh = c.cfg.Refresh; s.Refresh == 0 {
		s.Refresh = engine.DefaultRefresh
	}
	return s
}

// Peer returns what the client knows of the peer with this IPv6 address, such
// as when it may be tried again, and whether it knows anything.
func (c *Client) Peer(ip netip.Addr) (s PeerState, ok bool) {
	c.ask(func(r *running) { s, ok = r.machine.Peer(time.Now(), ip) })
	return s, ok
}

// Done is closed when Run has returned.
func (c *Client) Done() <-chan struct{} { return c.done }

// Refresh has the client solicit anew at once, such as after the network
// changed in a way that it cannot see by itself.
func (c *Client) Refresh() {
	c.ask(func(r *running) { r.linkChanged("asked to") })
}

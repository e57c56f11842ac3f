package engine

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/netip"
	"time"

	"shipworm/teredo/wire"
)

// ClientConfig configures a Client. Only Server must be set.
type ClientConfig struct {
	// Server is the primary IPv4 address of the Teredo server. It is part of
	// the Teredo address.
	Server netip.Addr
	// Secondary is the server's second address, or the zero Addr for none.
	// Solicitations that repeat an unanswered one alternate between the two; an
	// answer of this one alone makes the client ask the primary again at once.
	Secondary netip.Addr
	// Policy decides where packets may go.
	Policy Policy
	// Refresh is the longest time between two solicitations while qualified;
	// each is drawn from 75 to 100 % of it. 0 means 30 s (RFC 4380, 5.2).
	// Allowed: 5 s to 45 s (RFC 6081, 5.1.1).
	Refresh time.Duration
	// StrictTimers selects the timers of RFC 4380, three solicitations 4 s
	// apart, in place of six within 15.5 s that start 0.5 s apart.
	StrictTimers bool
	// Peers bounds the peer table. 0 means 4096. At most a quarter of it may
	// be peers that have not proved themselves.
	Peers int
	// FindRefresh has the client determine how long its NAT keeps an idle
	// mapping, and lengthen Refresh to that, up to 120 s (RFC 4380, 5.2.7). A
	// mapping that is lost is then found later as well.
	FindRefresh bool
	// ConeTest has the client test whether its NAT lets everybody in, for
	// ClientState.Filtering alone. It takes the server's second address.
	ConeTest bool
	// LocalDiscovery has the client announce itself on its link by multicast,
	// and take the announcements that ReceiveLocal is handed for what they say
	// (RFC 4380, 5.2.8): clients behind one NAT then find each other without
	// their server. The link is to be trusted with one's presence.
	LocalDiscovery bool
	// Credential, unless zero, is for secure qualification (RFC 4380, 5.2.2):
	// solicitations are signed with it, and advertisements that are not are
	// dropped.
	Credential Credential
	// Rand is the source of nonces, keys, random flags and jitter; nil means
	// crypto/rand. Tests seed it.
	Rand io.Reader
}

// State is the state of a Client.
//
//	           Start                 RA
//	Initial --------> Qualifying --------> Qualified <------+
//	                      |                 |    ^          | RA
//	      6 RS unanswered |   6 unanswered  |    | RA       |
//	                      v                 v    |          |
//	                   Offline <------- Unreachable         |
//	                      |      60 s                       |
//	                      +---------------------------------+
//
// In Unreachable the address still stands: peers may answer though the server
// does not. In Unreachable and Offline one solicitation is sent per step of
// the back-off.
type State uint8

// States of a Client.
const (
	Initial     State = iota // Start was not called yet
	Qualifying               // the first series of solicitations is under way
	Ready                    // qualified: the address is live and the server answers
	Unreachable              // the address is live, the server silent
	Offline                  // no address
)

func (s State) String() string {
	switch s {
	case Initial:
		return "initial"
	case Qualifying:
		return "qualifying"
	case Ready:
		return "qualified"
	case Unreachable:
		return "unreachable"
	case Offline:
		return "offline"
	}
	return "unknown state"
}

// MarshalText implements encoding.TextMarshaler.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It fails on a text that
// is no state's.
func (s *State) UnmarshalText(text []byte) error {
	for t := Initial; t <= Offline; t++ {
		if t.String() == string(text) {
			*s = t
			return nil
		}
	}
	return fmt.Errorf("no state of a client: %q", text)
}

// Client is a Teredo client. Its methods must not be called concurrently.
type Client struct {
	config ClientConfig
	policy Policy
	rand   io.Reader
	jitter *mathrand.Rand
	drops  Drops
	d      wire.Datagram // scratch of Receive
	t      wire.Trailers // the same, of a bubble

	state   State
	address wire.Address // valid in Ready and Unreachable
	own     netip.Addr   // address.Addr(), or the zero Addr
	flags   uint16       // of the address for mapping
	mapping netip.AddrPort
	via     int // server address that told the mapping: 0 primary, 1 secondary

	local       netip.AddrPort // of the service port; zero if not told
	external    netip.AddrPort // of a port forward to it; zero if there is none
	nat         wire.NAT
	step        uint16 // of a sequential NAT
	seen        uint16 // port of the mapping towards the secondary address
	mappingTest mappingTest
	cone        coneTest
	interval    interval
	refresh     time.Duration // config.Refresh, or what interval found

	solicit  solicit
	peers    peerTable
	ports    ports
	birthday birthday
	locals   locals
	ping     pinger
	auth     *authenticator // nil: no secure qualification
	token    bubbleToken    // of link-local bubbles
	strange  bucket         // birthdays of peers that the host does not want
	refusals bucket         // of our mapped port
	answers  bucket         // bubbles sent because of received ones, server-relayed
	acks     bucket         // the same, for bubbles received directly
	origin   time.Time

	lastPeer time.Time // last packet from a proven peer
	stats    clientStats
}

// clientStats are the plain numbers of a ClientState.
type clientStats struct {
	started, qualified time.Time
	rtt                time.Duration
	sent, received     uint64
	solicitations      uint64
}

// NewClient checks config, reporting every problem, and returns a client in
// state Initial. It fails as well if config.Rand does.
func NewClient(config ClientConfig) (*Client, error) {
	config.Server, config.Secondary = config.Server.Unmap(), config.Secondary.Unmap()
	if config.Refresh == 0 {
		config.Refresh = DefaultRefresh
	}
	if config.Peers == 0 {
		config.Peers = defaultPeers
	}
	if config.Rand == nil {
		config.Rand = rand.Reader
	}
	c := &Client{config: config, policy: config.Policy.compile(), rand: config.Rand, refresh: config.Refresh}
	var errs []error
	if !c.policy.unicast(config.Server) {
		errs = append(errs, fmt.Errorf("server %v: not a public IPv4 address", config.Server))
	}
	if s := config.Secondary; s.IsValid() && (!c.policy.unicast(s) || s == config.Server) {
		errs = append(errs, fmt.Errorf("secondary server %v: not another public IPv4 address", s))
	}
	if config.Refresh < minRefresh || config.Refresh > maxRefresh {
		errs = append(errs, fmt.Errorf("refresh interval %v: not within %v to %v", config.Refresh, minRefresh, maxRefresh))
	}
	if k := config.Credential; k.ID != "" || k.Key != nil {
		errs = append(errs, k.Check())
		c.auth = newAuthenticator(k)
	}
	if config.Peers < minPeers {
		errs = append(errs, fmt.Errorf("peer table of %d: at least %d", config.Peers, minPeers))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var seed [16]byte
	if _, err := io.ReadFull(c.rand, seed[:]); err != nil {
		return nil, fmt.Errorf("randomness: %w", err)
	}
	if err := c.ping.init(c.rand); err != nil {
		return nil, fmt.Errorf("randomness: %w", err)
	}
	if err := c.token.init(c.rand); err != nil {
		return nil, fmt.Errorf("randomness: %w", err)
	}
	c.jitter = newJitter(seed)
	c.peers.init(config.Peers)
	c.answers = bucket{rate: answerRate, burst: answerBurst}
	c.strange = bucket{rate: 1.0 / 60, burst: 2}
	c.refusals = bucket{rate: 1.0 / 60, burst: 2}
	c.acks = bucket{rate: ackRate, burst: ackBurst}
	return c, nil
}

// SetPolicy replaces the policy, such as after a change of the host's
// addresses. Peers that it does not permit are forgotten.
func (c *Client) SetPolicy(p Policy) {
	c.policy = p.compile()
	for _, p := range c.peers.entries {
		if !c.permitsPeer(p) {
			c.peers.remove(later(p.lastRx, p.lastTx), p, c, DropDenied)
		}
	}
}

// SetRefresh changes ClientConfig.Refresh, in place of what FindRefresh found as
// well; the address stays. 0 means the default, and what is not allowed is an
// error.
func (c *Client) SetRefresh(now time.Time, d time.Duration) error {
	if d == 0 {
		d = DefaultRefresh
	}
	if d < minRefresh || d > maxRefresh {
		return fmt.Errorf("refresh interval %v: not within %v to %v", d, minRefresh, maxRefresh)
	}
	c.config.Refresh, c.refresh = d, d
	if s := &c.solicit; c.state == Ready && !s.series {
		s.next = earliest(s.next, now.Add(c.between(0.75, 1, d)))
	}
	return nil
}

// permitsPeer reports whether packets may go where p's go.
func (c *Client) permitsPeer(p *peer) bool {
	return c.fromServer(p.mapped) >= 0 || c.policy.permits(p.mapped.Addr())
}

// permitsServer reports whether indirect bubbles may go through the server ip.
// Our own was configured, not learnt.
func (c *Client) permitsServer(ip netip.Addr) bool {
	return ip == c.config.Server || c.policy.permits(ip)
}

// Start begins to qualify. It does nothing unless the state is Initial.
func (c *Client) Start(now time.Time, out *Output) {
	if c.state != Initial {
		return
	}
	c.state = Qualifying
	c.origin, c.stats.started = now, now
	c.startSeries(now, out)
}

// StartShort is Start with a first series of at most so many solicitations, one
// or more, for a server that is one of several.
func (c *Client) StartShort(now time.Time, most int, out *Output) {
	if c.state != Initial {
		return
	}
	c.state = Qualifying
	c.origin, c.stats.started = now, now
	c.startShortSeries(now, most, out)
}

// TakeTurn begins in place of old, a client of another server that has not
// answered either: with a single solicitation, and with old's back-off, so that
// many silent servers are asked no more often than one. It does nothing unless
// the state is Initial.
func (c *Client) TakeTurn(now time.Time, old *Client, out *Output) {
	if c.state != Initial {
		return
	}
	c.state = Offline
	c.origin, c.stats.started = now, now
	c.solicit.step = old.solicit.step
	c.sendSolicitation(now, out)
	c.solicit.next = now.Add(c.backoffGap())
}

// LinkChanged says that the host's addresses or routes changed, or that it
// slept: the mapping may be another. A fresh series of solicitations starts at
// once, whatever the back-off was.
func (c *Client) LinkChanged(now time.Time, out *Output) {
	if c.state != Initial {
		c.startSeries(now, out)
		c.ports.drain(out)
	}
}

// Tick does what is due at now. Calling it early or late is harmless.
func (c *Client) Tick(now time.Time, out *Output) {
	c.tickSolicit(now, out)
	c.tickPeers(now, out)
	c.tickLocal(now, out)
	c.tickCone(now, out)
	c.tickInterval(now, out)
	c.ports.drain(out)
}

// Next returns when Tick is due, or the zero Time if nothing is planned.
func (c *Client) Next() time.Time {
	return earliest(c.solicit.next, c.solicit.expires, c.mappingTest.next, c.locals.next, c.cone.next, c.interval.next, c.peers.next())
}

// earliest returns the first of the times that are not zero.
func earliest(times ...time.Time) time.Time {
	var first time.Time
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

func (c *Client) drop(d Drop) { c.drops[d]++ }

package engine

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"shipworm/teredo/wire"
)

// RelayConfig configures a Relay. Only Served must be set.
type RelayConfig struct {
	// Served are the native prefixes whose nodes the relay serves, at least
	// one: of a host-specific relay the host's own addresses, of a public one
	// its operator's networks. Packets from or to other nodes are dropped.
	Served []netip.Prefix
	// Direct says that the relay itself may sit behind a NAT: its bubbles
	// then also go straight to the client, which opens that NAT.
	Direct bool
	// Servers are Teredo servers known as such. Bubbles through any other are
	// four in 300 s, whoever they are for, until one was answered.
	Servers []netip.Addr
	// Policy decides where packets may go.
	Policy Policy
	// Peers bounds the peer table. 0 means 65,536, which is the most. A
	// quarter of it may be peers that have not answered.
	Peers int
	// Rand is the source of the key of the bubbles' addresses; nil means crypto/rand.
	Rand io.Reader
}

// Relay is a Teredo relay (RFC 4380, 5.4), public or host-specific: a router
// between native IPv6 nodes and Teredo clients. Its methods must not be called
// concurrently.
//
// A client gets nothing but bubbles, through its server, until it answers one:
// the cone bit of its address is ignored (RFC 5991, 3.2). Our bubbles come from
// a link-local address made of a keyed hash over the client's address. Clients
// answer with the addresses swapped, so that the answer itself proves that they
// heard us, from whatever port their NAT sends it: symmetric NATs need no more,
// not the nonce of RFC 6081 either.
type Relay struct {
	config RelayConfig
	policy Policy
	token  bubbleToken
	peers  relayTable
	quota  relayQuota
	state  RelayState
	d      wire.Datagram // scratch of Receive
	t      wire.Trailers
}

// RelayState is a snapshot of a Relay.
type RelayState struct {
	Sent         uint64 `json:"sent"`     // packets to clients
	Received     uint64 `json:"received"` // packets to native nodes
	Bubbles      uint64 `json:"bubbles"`  // sent
	PeersTrusted int    `json:"peers_trusted"`
	PeersOther   int    `json:"peers_other"`
	Queued       int    `json:"queued_bytes"`
	Drops        Drops  `json:"drops"`
}

// NewRelay checks config, reporting every problem.
func NewRelay(config RelayConfig) (*Relay, error) {
	if config.Peers == 0 {
		config.Peers = maxRelayPeers
	}
	if config.Rand == nil {
		config.Rand = rand.Reader
	}
	r := &Relay{config: config, policy: config.Policy.compile()}
	var errs []error
	if len(config.Served) == 0 {
		errs = append(errs, errors.New("no native prefix to serve"))
	}
	errs = append(errs, r.SetServed(config.Served))
	if config.Peers < minPeers || config.Peers > maxRelayPeers {
		errs = append(errs, fmt.Errorf("peer table of %d: not within %d to %d", config.Peers, minPeers, maxRelayPeers))
	}
	for _, s := range config.Servers {
		if !r.policy.unicast(s.Unmap()) {
			errs = append(errs, fmt.Errorf("server %v: not a public IPv4 address", s))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := r.token.init(config.Rand); err != nil {
		return nil, fmt.Errorf("randomness: %w", err)
	}
	r.peers.init(config.Peers)
	r.quota.init(config.Servers)
	return r, nil
}

// SetServed replaces the prefixes of native nodes that the relay serves, such
// as after a change of the host's addresses. It may be empty: then nobody is.
// Prefixes within 2001::/32, of multicast, link-local or other addresses that
// no node of the Internet has are errors, and nothing is changed.
func (r *Relay) SetServed(served []netip.Prefix) error {
	var errs []error
	served = slices.Clone(served)
	for i, p := range served {
		p = p.Masked()
		switch a := p.Addr(); {
		case !p.IsValid() || !a.Is6() || a.Is4In6():
			errs = append(errs, fmt.Errorf("prefix %v: not IPv6", served[i]))
		case wire.Prefix().Overlaps(p) && p.Bits() >= wire.Prefix().Bits(),
			p.Bits() == 0, a.IsMulticast(), a.IsLinkLocalUnicast(), a.IsLoopback():
			errs = append(errs, fmt.Errorf("prefix %v: not of native nodes", served[i]))
		}
		served[i] = p
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	r.config.Served = served
	return nil
}

// SetPolicy replaces the policy, such as after a change of the host's IPv4
// addresses. Peers that it does not permit are forgotten.
func (r *Relay) SetPolicy(p Policy) {
	r.policy = p.compile()
	for _, p := range r.peers.entries {
		if !r.policy.permits(p.mapped.Addr()) {
			r.remove(p, DropDenied)
		}
	}
}

// Tick does what is due at now. Calling it early or late is harmless.
func (r *Relay) Tick(now time.Time, out *Output) {
	for p := r.peers.trying.oldest; p != nil && !now.Before(p.due); p = r.peers.trying.oldest {
		r.attempt(now, p, out)
	}
}

// Next returns when Tick is due, or the zero Time if nothing is planned.
func (r *Relay) Next() time.Time {
	if p := r.peers.trying.oldest; p != nil {
		return p.due
	}
	return time.Time{}
}

// Snapshot returns the present state.
func (r *Relay) Snapshot() RelayState {
	s := r.state
	s.PeersTrusted, s.PeersOther, s.Queued = r.peers.trusted.n, r.peers.others.n, r.peers.queued
	return s
}

func (r *Relay) drop(d Drop) { r.state.Drops[d]++ }

// serves reports whether ip may be a node that the relay serves.
func (r *Relay) serves(ip netip.Addr) bool {
	for _, p := range r.config.Served {
		if p.Contains(ip) {
			return honest(&r.policy, ip)
		}
	}
	return false
}

// ownTunnel reports whether ip leads through another kind of tunnel, 6to4 or
// ISATAP, back to this very host (RFC 6324, 3.3).
func (r *Relay) ownTunnel(ip netip.Addr) bool {
	b := ip.As16()
	var v4 netip.Addr
	switch {
	case b[0] == 0x20 && b[1] == 0x02:
		v4 = netip.AddrFrom4([4]byte(b[2:6]))
	case b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe:
		v4 = netip.AddrFrom4([4]byte(b[12:16]))
	default:
		return false
	}
	return slices.Contains(r.policy.Own, v4)
}

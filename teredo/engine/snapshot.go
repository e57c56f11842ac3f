package engine

import (
	"net/netip"
	"time"

	"shipworm/teredo/wire"
)

// ClientState is a snapshot of a Client, free to keep and to marshal.
type ClientState struct {
	State     State          `json:"state"`
	Address   wire.Address   `json:"address"` // zero if there is none
	Mapped    netip.AddrPort `json:"mapped"`  // the last mapping seen, even when offline
	Server    netip.Addr     `json:"server"`
	Secondary netip.Addr     `json:"secondary"`
	Refresh   time.Duration  `json:"refresh_ns"`
	NAT       wire.NAT       `json:"nat"`       // as the server's two addresses see it
	Filtering Filtering      `json:"filtering"` // as the cone test found it
	Forward   netip.AddrPort `json:"forward"`   // outside end of a port forward to us; invalid for none

	// QualifiedAfter is the time from Start to the first qualification; 0
	// before that.
	QualifiedAfter time.Duration `json:"qualified_after_ns"`
	RTT            time.Duration `json:"rtt_ns"` // of the last answered solicitation
	LastAnswer     time.Time     `json:"last_answer"`
	NextSolicit    time.Time     `json:"next_solicit"`

	Solicitations uint64 `json:"solicitations"` // sent
	Sent          uint64 `json:"sent"`          // data packets
	Received      uint64 `json:"received"`      // data packets delivered
	PeersTrusted  int    `json:"peers_trusted"`
	PeersOther    int    `json:"peers_other"`
	Queued        int    `json:"queued_bytes"`
	Drops         Drops  `json:"drops"`
}

// Snapshot returns the present state.
func (c *Client) Snapshot() ClientState {
	s := ClientState{
		State: c.state, Address: c.address, Mapped: c.mapping,
		Server: c.config.Server, Secondary: c.config.Secondary, Refresh: c.refresh,
		NAT: c.nat, Filtering: c.cone.result, Forward: c.external,
		RTT: c.stats.rtt, LastAnswer: c.solicit.answered, NextSolicit: c.solicit.next,
		Solicitations: c.stats.solicitations, Sent: c.stats.sent, Received: c.stats.received,
		PeersTrusted: c.peers.trusted.n, PeersOther: c.peers.others.n + c.peers.wanted.n,
		Queued: c.peers.queued, Drops: c.drops,
	}
	if !c.stats.qualified.IsZero() {
		s.QualifiedAfter = c.stats.qualified.Sub(c.stats.started)
	}
	return s
}

// PeerState is what a client knows of one peer.
type PeerState struct {
	Endpoint netip.AddrPort // where its packets go, or would go
	Up       bool           // packets pass
	Trying   bool           // an attempt is under way
	RetryAt  time.Time      // if neither: when an attempt becomes possible; zero means now
	LastSeen time.Time
}

// Peer returns what is known of the peer with this IPv6 address, and whether
// anything is.
func (c *Client) Peer(now time.Time, ip netip.Addr) (PeerState, bool) {
	if !ip.Is6() {
		return PeerState{}, false
	}
	p := c.peers.get(ip.As16())
	if p == nil {
		h, ok := c.peers.past.get(ip.As16())
		return PeerState{RetryAt: h.retryAt(now)}, ok
	}
	s := PeerState{Endpoint: p.mapped, Up: p.usable(now), Trying: p.trying, LastSeen: p.lastRx}
	if !s.Up && !s.Trying {
		if ok, at := p.allowed(now); !ok {
			s.RetryAt = at
		}
	}
	return s, true
}

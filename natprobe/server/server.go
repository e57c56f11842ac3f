// Package server is a STUN server for behaviour discovery: RFC 8489 Binding
// requests with the attributes of RFC 5780, and those of RFC 3489.
//
// It has two addresses with two ports each, from any of which it can answer
// what arrived at another. The second address may be one of another host that
// runs this server too: each then asks the other, in authenticated datagrams,
// to answer in its place. With one address it tells mapped endpoints only.
//
// It keeps no state about clients but rate limits of fixed size. What can be
// abused is bounded: an answer goes to the address that asked and is at most
// 3.4 times as long (twice, with IP and UDP headers); a padded one is shorter
// than its request; RESPONSE-PORT picks a port of that address above 1023;
// RESPONSE-ADDRESS of RFC 3489 is refused. Left out are TCP and TLS,
// credentials, and everything of TURN.
//
//	s, err := server.New(server.Config{Listen: []netip.Addr{a1, a2}})
//	...
//	err = s.Run(ctx)
package server

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
)

// Default ports. 3478 is STUN's (RFC 8489, 18.6), the others are ours.
const (
	DefaultPort      = 3478
	DefaultOtherPort = 3479
	DefaultPeerPort  = 3480
)

// MinKey is how long the key that two hosts share has to be, in bytes.
const MinKey = 16

// Config describes a server. Zero fields have the documented defaults.
type Config struct {
	// Listen are the server's addresses, one or two of one family. They are
	// of this host.
	Listen []netip.Addr
	// Public are the same as clients see them, where a 1:1 NAT is in front;
	// empty = Listen.
	Public []netip.Addr
	// Port and OtherPort; 0 = DefaultPort and DefaultOtherPort.
	Port, OtherPort uint16

	// Peer is another host that lends its address as the second one of this
	// server, and borrows this one's. Its ports must be the same. Listen has
	// one address then.
	Peer *Peer

	// EndpointRate and AddressRate bound the answers to one address and port,
	// and to one address (of IPv6, one /64), per second; twice as many at
	// once; 0 = 20 and 200.
	EndpointRate, AddressRate int

	Logger  *slog.Logger     // nil = discard
	OnReady func()           // called once all sockets are open
	OnPeer  func(alive bool) // called when the peer begins or ceases to answer
}

// Peer is the other host of two that act as one server.
type Peer struct {
	Public netip.Addr     // its address as clients see it
	Addr   netip.AddrPort // where it takes this host's messages; port 0 = DefaultPeerPort
	Port   uint16         // where this host takes its; 0 = DefaultPeerPort
	// Key is shared by both hosts, MinKey bytes or more. Their clocks may
	// differ by at most MaxSkew.
	Key []byte
}

// withDefaults returns a copy of c that the caller cannot change, complete, or
// every problem of it.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("server: "+format, args...)) }
	or := func(v *uint16, d uint16) {
		if *v == 0 {
			*v = d
		}
	}
	or(&c.Port, DefaultPort)
	or(&c.OtherPort, DefaultOtherPort)
	if c.Port == c.OtherPort {
		bad("both ports are %d", c.Port)
	}
	if n := len(c.Listen); n < 1 || n > 2 {
		bad("%d addresses to listen on, want 1 or 2", n)
	}
	if len(c.Public) == 0 {
		c.Public = c.Listen
	}
	if len(c.Public) != len(c.Listen) {
		bad("%d public addresses for %d", len(c.Public), len(c.Listen))
	}
	public := c.Public
	if c.Peer != nil {
		p := *c.Peer
		p.Key = bytes.Clone(p.Key)
		if p.Addr.Port() == 0 {
			p.Addr = netip.AddrPortFrom(p.Addr.Addr(), DefaultPeerPort)
		}
		or(&p.Port, DefaultPeerPort)
		c.Peer = &p
		if len(c.Listen) == 2 {
			bad("a peer, and yet two addresses")
		}
		if len(p.Key) < MinKey {
			bad("the key has %d bytes, want at least %d", len(p.Key), MinKey)
		}
		if !p.Addr.IsValid() {
			bad("no address of the peer")
		}
		if p.Port == c.Port || p.Port == c.OtherPort {
			bad("the port for the peer, %d, is that for clients", p.Port)
		}
		public = append(public[:len(public):len(public)], p.Public)
	}
	for i, list := range [][]netip.Addr{c.Listen, public} {
		for j, a := range list {
			switch {
			case i == 1 && a.Zone() == "" && slices.Contains(c.Listen, a): // checked already
			case !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Is4In6() || a.Zone() != "" && i == 1:
				bad("%v: not an address of a host", a)
			case a.Is4() != list[0].Is4():
				bad("%v and %v: two families", list[0], a)
			case j > 0 && a == list[0]:
				bad("%v twice", a)
			}
		}
	}
	if c.EndpointRate < 0 || c.AddressRate < 0 {
		bad("a negative rate")
	}
	if c.EndpointRate == 0 {
		c.EndpointRate = 20
	}
	if c.AddressRate == 0 {
		c.AddressRate = 200
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, errors.Join(errs...)
}

// Package teredo gives a program behind a NAT an IPv6 address that others can
// reach: Teredo, RFC 4380 as changed by RFC 5991, in user space and without
// privilege.
//
// A Client asks a Teredo server what its NAT made of its UDP port (it
// qualifies), keeps that mapping alive, and tunnels IPv6 packets in UDP
// straight to its peers; the server only helps to open the two NATs. On the
// Teredo address it yields ordinary sockets: net.PacketConn, net.Listener,
// net.Conn. A Server is the other end of qualification, a Relay the way to and
// from native IPv6 hosts without Teredo.
//
// The protocol is in the pure machines of teredo/engine, the formats in
// teredo/wire; this package owns goroutines, sockets and clocks. With a Device
// of teredo/tun the tunnel ends in the host's kernel instead. Left out: the cone
// bit, which RFC 5991 took out of use.
//
// Nothing is sent before Run is called, and nothing after it returned.
//
//	c, err := teredo.NewClient(teredo.ClientConfig{Server: "teredo.example.net"})
//	go c.Run(ctx)
//	addr, err := c.WaitQualified(ctx)
//	pc, err := c.ListenPacket(ctx, 0) // UDP on addr, open to the IPv6 world
package teredo

import (
	"errors"
	"fmt"
	"net/netip"

	"shipworm/teredo/engine"
	"shipworm/teredo/packet"
	"shipworm/teredo/wire"
)

// Address is a Teredo IPv6 address: a server, flags, and a NAT's mapping.
type Address = wire.Address

// ParseAddress parses the text form of a Teredo address. The error wraps
// ErrNotTeredo if s is another kind of address.
func ParseAddress(s string) (Address, error) { return wire.ParseAddress(s) }

// ErrNotTeredo says that an address lies outside 2001::/32.
var ErrNotTeredo = wire.ErrNotTeredo

// Port is the UDP port of Teredo servers. RFC 4380, 2.7.
const Port = wire.Port

// Policy says where packets may go; see the fields of ClientConfig and
// ServerConfig.
type Policy = engine.Policy

// Credential is what a client and its server share for secure qualification.
type Credential = engine.Credential

// Event is something that happened to a Client.
type Event = engine.Event

// PeerState is what a Client knows of one peer.
type PeerState = engine.PeerState

// Device is where a Client ends its tunnel: packets that the host sends come
// out of it, packets for the host go into it. *stack.Stack is the default.
type Device interface {
	// ReadBatch waits for packets and fills as many as there are, without
	// keeping any. It returns an error only once the device is closed or
	// broken for good.
	ReadBatch(pkts []packet.Packet) (int, error)

	// WriteBatch takes packets in. It must copy what it keeps and must not
	// wait: a device that is busy drops.
	WriteBatch(pkts []packet.Packet) (int, error)

	// SetAddr gives the host its address, in place of any other; the zero
	// Addr takes it away.
	SetAddr(addr netip.Addr) error

	// Close unblocks ReadBatch.
	Close() error
}

// Stage says how far a qualification got.
type Stage string

// Stages of a qualification.
const (
	StageResolve Stage = "resolve the server" // its name, and the policy on the answer
	StageSocket  Stage = "open the socket for the server"
	StageSolicit Stage = "ask the server" // router solicitations
)

// Causes of a QualifyError.
var (
	// ErrServerSilent: a whole series of solicitations went unanswered.
	ErrServerSilent = errors.New("no answer over UDP")

	// ErrPortRefused: the NAT maps the configured port to one that no peer sends
	// to, such as a service's.
	ErrPortRefused = errors.New("the NAT shows a port that peers do not send to")

	// ErrServerDenied: the name led only to addresses that the policy
	// forbids, such as private ones.
	ErrServerDenied = errors.New("not a public IPv4 address")
)

// Errors of a Client's methods.
var (
	// ErrRan: Run may be called once.
	ErrRan = errors.New("teredo: Run was called already")

	// ErrNoHost: the client runs on a Device that offers no sockets.
	ErrNoHost = errors.New("teredo: the device is no userspace host")
)

// QualifyError says why there is no Teredo address.
type QualifyError struct {
	Server string // as configured
	Stage  Stage
	Err    error
}

func (e *QualifyError) Error() string {
	return fmt.Sprintf("teredo: %s %s: %v", e.Stage, e.Server, e.Err)
}

func (e *QualifyError) Unwrap() error { return e.Err }

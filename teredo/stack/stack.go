// Package stack is a whole IPv6 host in user space: the device on which a
// Teredo client terminates its tunnel without privilege and without exposing
// anything of the kernel.
//
// Towards the driver a Stack is a batch-shaped device: ReadBatch yields the
// IPv6 packets that the host wants to send, WriteBatch feeds it those that
// arrived. Towards programs it yields net.PacketConn, net.Listener and
// net.Conn on one address at a time, which SetAddr replaces when the Teredo
// mapping changes.
//
// The host denies by default (RFC 6169, 4.3.3). A packet that arrives reaches
// a socket that this process opened, or it vanishes without an answer: no
// reset, no port unreachable, no parameter problem. Neighbor Discovery never
// enters, whatever its hop limit says. The one exception is the ICMPv6 echo,
// which lets peers test the path; Config.NoEcho silences it too.
//
// The TCP/IP below is gVisor's, with SACK on; this is the only package that
// imports it. gVisor hangs inside a testing/synctest bubble, so code under
// virtual time needs another device.
//
//	s, err := stack.New(stack.Config{})
//	defer s.Close()
//	err = s.SetAddr(addr)
//	pc, err := s.ListenPacket(0) // UDP, a random port from 49152 on
package stack

import (
	"fmt"
	"net"
	"net/netip"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"shipworm/teredo/packet"
)

const (
	// DefaultMTU is the MTU of a Teredo link. RFC 4380, 5.1.2.
	DefaultMTU = header.IPv6MinimumMTU

	// DefaultQueue is how many packets wait for ReadBatch before new ones
	// are dropped.
	DefaultQueue = 1024

	// FirstPort and LastPort bound the ports that the stack picks itself:
	// the dynamic range of RFC 6335, 6.
	FirstPort, LastPort = 49152, 65535

	nicID tcpip.NICID = 1

	// udpBuffer replaces gVisor's 212 KiB default: a burst of a transfer at
	// some 100 Mbit/s must fit while the reader is scheduled out.
	udpBuffer = 1 << 20
)

// Config is the configuration of a Stack; its zero value is the documented
// default.
type Config struct {
	// MTU of the link in bytes, at least 1280; zero means DefaultMTU.
	MTU int

	// Queue bounds the packets that wait for ReadBatch; zero means
	// DefaultQueue.
	Queue int

	// Direct, unless nil, is offered each packet that the host sends after a
	// pause, before it waits for ReadBatch: there is nothing to gather, and the
	// other end gets it one change of goroutines earlier. It sends the packet,
	// which is its own until it returns, or reports false at once. It runs in the
	// goroutine that sends, under locks of the Stack's: it must neither wait for
	// others nor call the Stack. One call runs at a time, and none while packets
	// that ReadBatch returned are in hand.
	Direct func(pkt []byte) bool

	// NoEcho leaves ICMPv6 echo requests unanswered.
	NoEcho bool
}

// Stack is a userspace IPv6 host with one interface and at most one address.
// All methods may be called from any goroutine.
type Stack struct {
	cfg  Config
	s    *stack.Stack
	link *link
	drop counters
	out  outgoing
	in   incoming

	mu     sync.Mutex // guards addr and closed; held over changes of gVisor's address
	addr   netip.Addr
	closed bool
}

// New returns a running Stack without an address. It must be closed.
func New(c Config) (*Stack, error) {
	if c.MTU == 0 {
		c.MTU = DefaultMTU
	}
	if c.Queue == 0 {
		c.Queue = DefaultQueue
	}
	if c.MTU < header.IPv6MinimumMTU || c.MTU > 65535 {
		return nil, fmt.Errorf("stack: MTU %d is outside 1280 to 65535", c.MTU)
	}
	if c.Queue < 0 {
		return nil, fmt.Errorf("stack: queue of %d packets", c.Queue)
	}
	s := &Stack{cfg: c}
	s.s = stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{
			// The zero options: no router advertisements, no duplicate
			// address detection, no MLD, no link-local address.
			ipv6.NewProtocolWithOptions(ipv6.Options{}),
		},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol6},
		HandleLocal:        true,
	})
	s.link = newLink(c.Queue, uint32(c.MTU), &s.drop)
	if c.Direct != nil {
		s.out.alone.Buf = make([]byte, packet.Headroom+c.MTU)
		s.link.direct = s.sendDirect
	}
	if err := s.configure(); err != nil {
		s.s.Destroy()
		return nil, err
	}
	return s, nil
}

func (s *Stack) configure() error {
	sack := tcpip.TCPSACKEnabled(true)
	cubic := tcpip.CongestionControlOption("cubic")
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	// Not RACK with its tail loss probes: gVisor sends no duplicate SACK, so that
	// each probe that was not needed, after as little as two RTTs in which nothing
	// ran, is taken for a loss that it mended, and narrows the window.
	var recovery tcpip.TCPRecovery
	steps := []struct {
		what string
		err  tcpip.Error
	}{
		{"SACK", s.s.SetTransportProtocolOption(tcp.ProtocolNumber, &sack)},
		{"congestion control", s.s.SetTransportProtocolOption(tcp.ProtocolNumber, &cubic)},
		{"loss detection", s.s.SetTransportProtocolOption(tcp.ProtocolNumber, &recovery)},
		{"receive buffer moderation", s.s.SetTransportProtocolOption(tcp.ProtocolNumber, &moderate)},
		{"receive buffer", s.s.SetOption(tcpip.ReceiveBufferSizeOption{Min: stack.MinBufferSize, Default: udpBuffer, Max: stack.DefaultMaxBufferSize})},
		{"send buffer", s.s.SetOption(tcpip.SendBufferSizeOption{Min: stack.MinBufferSize, Default: udpBuffer, Max: stack.DefaultMaxBufferSize})},
		{"port range", s.s.SetPortRange(FirstPort, LastPort)},
		{"interface", s.s.CreateNIC(nicID, s.link)},
	}
	for _, st := range steps {
		if st.err != nil {
			return fmt.Errorf("stack: set %s: %s", st.what, st.err)
		}
	}
	s.s.SetRouteTable([]tcpip.Route{{Destination: header.IPv6EmptySubnet, NIC: nicID}})
	// What no socket claims ends here, instead of in a reset or an ICMPv6
	// error that would tell a stranger that somebody is there. ICMPv6 itself
	// has no handler: it would swallow echo requests, and needs none.
	for _, p := range []tcpip.TransportProtocolNumber{tcp.ProtocolNumber, udp.ProtocolNumber} {
		s.s.SetTransportProtocolHandler(p, func(stack.TransportEndpointID, *stack.PacketBuffer) bool {
			s.drop.add(DropClosedPort)
			return true
		})
	}
	return nil
}

// SetAddr replaces the address of the host; the zero Addr removes it.
// Connections bound to the old address are aborted, since their packets could
// not be told from forged ones any more. Unconnected sockets (ListenPacket,
// Listen) live on and use the new address.
func (s *Stack) SetAddr(addr netip.Addr) error {
	if addr.IsValid() && (!addr.Is6() || addr.Is4In6() || addr.Zone() != "") {
		return fmt.Errorf("stack: %v is not a plain IPv6 address", addr)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	if addr == s.addr {
		return nil
	}
	if s.addr.IsValid() {
		old := tcpip.AddrFrom16(s.addr.As16())
		s.addr = netip.Addr{}
		s.link.setAddr(s.addr)
		s.abortBoundTo(old)
		if err := s.s.RemoveAddress(nicID, old); err != nil {
			return fmt.Errorf("stack: remove the old address: %s", err)
		}
	}
	if !addr.IsValid() {
		return nil
	}
	if err := s.s.AddProtocolAddress(nicID, tcpip.ProtocolAddress{
		Protocol:          ipv6.ProtocolNumber,
		AddressWithPrefix: tcpip.AddrFrom16(addr.As16()).WithPrefix(),
	}, stack.AddressProperties{}); err != nil {
		return fmt.Errorf("stack: add %v: %s", addr, err)
	}
	s.addr = addr
	s.link.setAddr(addr)
	return nil
}

func (s *Stack) abortBoundTo(a tcpip.Address) {
	for _, ep := range s.s.RegisteredEndpoints() {
		e, ok := ep.(tcpip.Endpoint)
		if !ok {
			continue
		}
		if local, err := e.GetLocalAddress(); err == nil && local.Addr == a {
			ep.Abort()
		}
	}
}

// Addr returns the address of the host, the zero Addr if it has none.
func (s *Stack) Addr() netip.Addr { return s.link.getAddr() }

// MTU returns the MTU of the link in bytes.
func (s *Stack) MTU() int { return s.cfg.MTU }

// Close aborts every connection, unblocks every caller and ends the stack's
// goroutines before it returns.
func (s *Stack) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.link.setAddr(netip.Addr{})
	s.s.Destroy()
	s.link.shut()
	return nil
}

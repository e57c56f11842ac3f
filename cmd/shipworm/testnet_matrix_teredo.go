package main

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
	"shipworm/testnet/matrix"
	"shipworm/testnet/sim"
)

// teredoResend is how often A repeats its first packet: a program that calls
// another one would.
const teredoResend = time.Second

// routerDelay is how long a router takes to forward a port.
const routerDelay = 10 * time.Millisecond

// teredoMethod is two Teredo clients and their server. A sends B a packet, B
// answers it; they are connected when the answer is there.
type teredoMethod struct{}

func (teredoMethod) Name() string  { return "teredo" }
func (teredoMethod) Title() string { return "Teredo" }

// Describe names a Teredo datagram.
func (teredoMethod) Describe(b []byte) string {
	var d wire.Datagram
	if wire.Parse(b, &d) != nil {
		return "datagram"
	}
	var t wire.Trailers
	switch p := d.IPv6; {
	case p.IsBubble() && d.Origin.IsValid():
		return "bubble, passed on"
	case p.IsBubble() && wire.ParseTrailers(d.Trailers, &t) == nil && t.Discovery == wire.DiscoverySolicitation:
		return "bubble, asking"
	case p.IsBubble() && t.Discovery == wire.DiscoveryAdvertisement:
		return "bubble, answering"
	case p.IsBubble():
		return "bubble"
	case p.NextHeader() == wire.ProtoICMPv6 && len(p) > wire.HeaderSize && p[wire.HeaderSize] == wire.TypeSolicitation:
		return "where am I?"
	case p.NextHeader() == wire.ProtoICMPv6 && len(p) > wire.HeaderSize && p[wire.HeaderSize] == wire.TypeAdvertisement:
		return "you are"
	}
	return "data"
}

func (teredoMethod) Begin(s *matrix.Stage) (matrix.Attempt, error) {
	t := &teredoAttempt{stage: s}
	addrs := s.Server.Addrs()
	server, err := engine.NewServer(engine.ServerConfig{Primary: addrs[0], Secondary: addrs[1], Seed: s.Seed})
	if err != nil {
		return nil, err
	}
	t.server = server
	for i, a := range addrs {
		t.ports[i], err = s.Server.BindUDPAddr(netip.AddrPortFrom(a, wire.Port), func(now time.Time, from netip.AddrPort, b []byte) {
			t.serve(now, i, from, b)
		})
		if err != nil {
			return nil, err
		}
	}
	for i, h := range []*sim.Host{s.A, s.B} {
		n := &t.nodes[i]
		n.t, n.host, n.extra = t, h, map[uint16]*sim.UDPPort{}
		n.client, err = engine.NewClient(engine.ClientConfig{
			Server: addrs[0], Secondary: addrs[1], Policy: engine.Policy{Own: h.Addrs()}, Rand: seededRand(s.Seed, i),
		})
		if err != nil {
			return nil, err
		}
		if n.port, err = h.BindUDP(0, n.receiver(0)); err != nil {
			return nil, err
		}
		n.client.SetLocal(n.port.LocalAddr())
		n.client.Start(s.World.Now(), &n.out)
		n.settle()
		// A program asks its router while it asks its server.
		s.World.At(s.World.Now().Add(routerDelay), func() {
			if external, ok := s.Forward(h, n.port.LocalAddr().Port()); ok {
				n.client.SetMapped(s.World.Now(), external, &n.out)
				n.settle()
			}
		})
	}
	return t, nil
}

// seededRand is the i-th source of randomness of an attempt.
func seededRand(seed uint64, i int) *rand.ChaCha8 {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	key[8] = byte(i)
	return rand.NewChaCha8(key)
}

type teredoAttempt struct {
	stage  *matrix.Stage
	server *engine.Server
	ports  [2]*sim.UDPPort
	sout   engine.ServerOutput
	nodes  [2]teredoNode
	done   bool
}

// teredoNode is a client with its socket.
type teredoNode struct {
	t      *teredoAttempt
	client *engine.Client
	host   *sim.Host
	port   *sim.UDPPort
	extra  map[uint16]*sim.UDPPort
	out    engine.Output
	tick   time.Time
}

func (t *teredoAttempt) State() matrix.State {
	switch {
	case t.done:
		return matrix.Done
	case t.nodes[0].client.Snapshot().State == engine.Ready && t.nodes[1].client.Snapshot().State == engine.Ready:
		return matrix.Ready
	}
	return matrix.Preparing
}

// Connect has A send until B has answered.
func (t *teredoAttempt) Connect() {
	if t.done {
		return
	}
	w := t.stage.World
	t.nodes[0].send(w.Now(), t.nodes[1].addr())
	w.At(w.Now().Add(teredoResend), t.Connect)
}

func (t *teredoAttempt) serve(now time.Time, local int, from netip.AddrPort, b []byte) {
	t.sout.Reset()
	before := t.server.Snapshot().Drops
	t.server.Receive(now, local, from, b, &t.sout)
	t.refused(before, t.server.Snapshot().Drops)
	for _, x := range t.sout.Transmit {
		// An address that the network refuses is a lost datagram, as in life.
		_ = t.ports[x.From].SendTo(x.To, x.Payload)
	}
}

// refused tells the ladder why a machine dropped the datagram just delivered.
func (t *teredoAttempt) refused(before, after engine.Drops) {
	for i := range after {
		if after[i] != before[i] {
			t.stage.Refused(engine.Drop(i).String())
			return
		}
	}
}

func (n *teredoNode) addr() netip.Addr { return n.client.Snapshot().Address.Addr() }

// send sends an IPv6 packet with an empty UDP datagram.
func (n *teredoNode) send(now time.Time, to netip.Addr) {
	const size = 8 // of a UDP header
	p := wire.AppendBubble(nil, n.addr(), to, 64)
	binary.BigEndian.PutUint16(p[4:], size)
	p[6] = wire.ProtoUDP
	p = binary.BigEndian.AppendUint16(p, 49152) // ports of RFC 6335's dynamic range
	p = binary.BigEndian.AppendUint16(p, 49152)
	p = binary.BigEndian.AppendUint16(p, size)
	p = binary.BigEndian.AppendUint16(p, 0) // nobody here checks the sum
	n.client.Send(now, p, &n.out)
	n.settle()
}

// receiver returns what takes in datagrams at a port, 0 the service port.
func (n *teredoNode) receiver(port uint16) func(time.Time, netip.AddrPort, []byte) {
	return func(now time.Time, from netip.AddrPort, b []byte) { n.receive(now, port, from, b) }
}

func (n *teredoNode) receive(now time.Time, port uint16, from netip.AddrPort, b []byte) {
	before := n.client.Snapshot().Drops
	n.client.ReceiveOn(now, port, from, b, &n.out)
	n.t.refused(before, n.client.Snapshot().Drops)
	got := len(n.out.Deliver) > 0
	n.settle()
	if got && n == &n.t.nodes[0] {
		n.t.done = true
	} else if got {
		n.send(now, n.t.nodes[0].addr())
	}
}

// settle does what a driver does after each call of the machine.
func (n *teredoNode) settle() {
	for _, p := range n.out.Open {
		if port, err := n.host.BindUDP(p, n.receiver(p)); err == nil {
			n.extra[p] = port
		}
	}
	for _, x := range n.out.Transmit {
		n.transmit(x)
	}
	for _, p := range n.out.Close {
		if port := n.extra[p]; port != nil {
			port.Close()
			delete(n.extra, p)
		}
	}
	n.out.Reset()
	next := n.client.Next()
	if next.IsZero() || next.Equal(n.tick) {
		return
	}
	n.tick = next
	w := n.t.stage.World
	w.At(next, func() {
		if n.tick.Equal(next) {
			n.tick = time.Time{}
			n.client.Tick(w.Now(), &n.out)
			n.settle()
		}
	})
}

// transmit sends a datagram from the port it asks for.
func (n *teredoNode) transmit(x engine.Transmit) {
	port := n.port
	if x.Port != 0 {
		port = n.extra[x.Port]
	}
	// A port that could not be opened, and an address that the network refuses,
	// are lost datagrams, as in life.
	switch {
	case port == nil:
	case x.TTL != 0:
		_ = port.SendTTL(x.To, x.TTL, x.Payload)
	default:
		_ = port.SendTo(x.To, x.Payload)
	}
}

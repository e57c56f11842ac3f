package engine_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
	"shipworm/testnet/invariant"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
)

var (
	start     = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	primary   = netip.MustParseAddr("203.0.113.1")
	secondary = netip.MustParseAddr("203.0.113.2")
)

// seeded is a deterministic source of randomness.
func seeded(seed uint64) *rand.ChaCha8 {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}

// lab is a simulated Internet with a Teredo server on it. The invariants of
// L-05 hold on every packet of every test: no loop (T-04), nothing to a denied
// address (T-01), no amplification by the server (T-08).
type lab struct {
	t      testing.TB
	w      *sim.World
	seed   uint64
	server *engine.Server
	host   *sim.Host
	ports  [2]*sim.UDPPort
	down   bool                 // the server is switched off
	mute   bool                 // its secondary address sends nothing
	refuse func(local int) bool // solicitations to that address are lost
	native func(packet []byte)
	nodes  int
	line   link.Config // of every access line, in each direction
	lines  []func(link.Config) error
}

// newLab makes a world with a server 20 ms away from everything.
func newLab(t testing.TB, seed uint64, line link.Config) *lab {
	return newLabDenying(t, seed, line, engine.DeniedRanges())
}

// newLabDenying is newLab where only these ranges must see no packet.
func newLabDenying(t testing.TB, seed uint64, line link.Config, denied []netip.Prefix) *lab {
	l := &lab{t: t, w: sim.New(seed, start), seed: seed, line: line}
	invariant.Install(t, l.w, invariant.Config{Denied: denied, Factor: map[string]float64{"server": 2.2}})
	l.host = l.must(l.w.Host("server", l.config(), primary, secondary))
	for i, a := range []netip.Addr{primary, secondary} {
		port, err := l.host.BindUDPAddr(netip.AddrPortFrom(a, wire.Port), func(now time.Time, from netip.AddrPort, b []byte) {
			l.serve(now, i, from, b)
		})
		if err != nil {
			t.Fatal(err)
		}
		l.ports[i] = port
	}
	l.lines = append(l.lines, l.host.SetLink)
	l.restart()
	return l
}

// restart gives the server a fresh memory.
func (l *lab) restart() {
	s, err := engine.NewServer(engine.ServerConfig{Primary: primary, Secondary: secondary, Seed: l.seed})
	if err != nil {
		l.t.Fatal(err)
	}
	l.server = s
}

func (l *lab) must(h *sim.Host, err error) *sim.Host {
	if err != nil {
		l.t.Fatal(err)
	}
	return h
}

// config returns the line's configuration with dice of its own.
func (l *lab) config() link.Config {
	l.nodes++
	c := l.line
	c.Seed = l.seed<<8 + uint64(l.nodes)
	return c
}

func (l *lab) serve(now time.Time, local int, from netip.AddrPort, b []byte) {
	if l.down || (l.refuse != nil && l.refuse(local)) {
		return
	}
	var out engine.ServerOutput
	l.server.Receive(now, local, from, b, &out)
	for _, t := range out.Transmit {
		if l.mute && t.From == 1 {
			continue
		}
		l.ports[t.From].SendTo(t.To, t.Payload)
	}
	for _, p := range out.Native {
		if l.native != nil {
			l.native(p)
		}
	}
}

// lossy changes every access line.
func (l *lab) lossy(line link.Config) {
	for _, x := range l.lines {
		if err := x(line); err != nil {
			l.t.Fatal(err)
		}
	}
}

// run lets d pass.
func (l *lab) run(d time.Duration) { l.w.Advance(l.w.Now().Add(d)) }

// until lets at most d pass, until ok holds; it reports whether it does.
func (l *lab) until(d time.Duration, ok func() bool) bool {
	end := l.w.Now().Add(d)
	for !ok() {
		next, some := l.w.Next()
		if !some || next.After(end) {
			l.w.Advance(end)
			return ok()
		}
		l.w.Advance(next)
	}
	return true
}

// got is a packet that a node's host received.
type got struct {
	at     time.Time
	packet wire.Packet
}

// node is a client with its socket.
type node struct {
	l      *lab
	name   string
	c      *engine.Client
	port   *sim.UDPPort
	extra  map[uint16]*sim.UDPPort
	host   *sim.Host
	router *sim.Router // nil: on the public network
	out    engine.Output
	events []engine.Event
	got    []got
	tick   time.Time
	sent   func(engine.Transmit)               // sees what the client sends
	seen   func(from netip.AddrPort, b []byte) // sees what it is about to receive
	deaf   bool                                // datagrams do not reach the client
	far    bool                                // from its NAT: what has a short time to live gets no farther than routers before it
	asleep bool                                // the host is suspended
}

// node adds a client behind a NAT of a named profile, or on the public
// network if that is "public". change may alter its configuration.
func (l *lab) node(profile string, change func(*engine.ClientConfig)) *node {
	if profile == "public" {
		return l.public(l.nodes)
	}
	cfg, ok := nat.Profile(profile)
	if !ok {
		l.t.Fatalf("no NAT profile %q", profile)
	}
	return l.behind(cfg, change)
}

// behind adds a client behind a NAT.
func (l *lab) behind(cfg nat.Config, change func(*engine.ClientConfig)) *node {
	n := &node{l: l, name: fmt.Sprint("client", l.nodes)}
	external := netip.AddrFrom4([4]byte{198, 51, 100, byte(10 + l.nodes)})
	private := netip.AddrFrom4([4]byte{192, 168, byte(l.nodes), 2})
	cfg.External, cfg.Seed = []netip.Addr{external}, l.seed
	if cfg.ArbitraryPooling { // a pool
		cfg.External = append(cfg.External, netip.AddrFrom4([4]byte{198, 51, 100, byte(110 + l.nodes)}))
	}
	router, err := l.w.Router(n.name+" NAT", cfg, l.config())
	if err != nil {
		l.t.Fatal(err)
	}
	n.router = router
	l.lines = append(l.lines, router.SetLink)
	n.host = l.must(router.Host(n.name, link.Config{}, private))
	return l.attach(n, change)
}

// public adds the i-th client without a NAT.
func (l *lab) public(i int) *node { return l.bare(i, nil) }

// bare is public with a configuration to alter.
func (l *lab) bare(i int, change func(*engine.ClientConfig)) *node {
	n := &node{l: l, name: fmt.Sprint("client", l.nodes)}
	n.host = l.must(l.w.Host(n.name, l.config(), netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})))
	l.lines = append(l.lines, n.host.SetLink)
	return l.attach(n, change)
}

// attach gives n a client.
func (l *lab) attach(n *node, change func(*engine.ClientConfig)) *node {
	cfg := engine.ClientConfig{Server: primary, Rand: seeded(l.seed<<8 + uint64(l.nodes)), Policy: engine.Policy{Own: n.host.Addrs()}}
	if change != nil {
		change(&cfg)
	}
	c, err := engine.NewClient(cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	n.c = c
	n.bind()
	n.extra = map[uint16]*sim.UDPPort{}
	return n
}

// bind opens a service port.
func (n *node) bind() {
	var err error
	n.port, err = n.host.BindUDP(0, func(now time.Time, from netip.AddrPort, b []byte) {
		if !n.deaf && !n.asleep {
			n.see(from, b)
			n.c.Receive(now, from, b, &n.out)
			n.settle()
		}
	})
	if err != nil {
		n.l.t.Fatal(err)
	}
	n.c.SetLocal(n.port.LocalAddr())
}

// rebind moves to another service port.
func (n *node) rebind() {
	old := n.port
	n.bind()
	old.Close()
	n.c.LinkChanged(n.l.w.Now(), &n.out)
	n.settle()
	if n.router != nil && n.router.NAT().Config().Forwarding {
		n.forwardPort()
	}
}

func (n *node) see(from netip.AddrPort, b []byte) {
	if n.seen != nil {
		n.seen(from, b)
	}
}

// open opens an extra port. One that is taken is lost, as in life.
func (n *node) open(local uint16) {
	port, err := n.host.BindUDP(local, func(now time.Time, from netip.AddrPort, b []byte) {
		n.see(from, b)
		n.c.ReceiveOn(now, local, from, b, &n.out)
		n.settle()
	})
	if err == nil {
		n.extra[local] = port
	}
}

// transmit sends a datagram from the port it asks for.
func (n *node) transmit(t engine.Transmit) {
	port := n.port
	if t.Port != 0 {
		if port = n.extra[t.Port]; port == nil {
			return
		}
	}
	if t.TTL != 0 && n.far {
		return
	}
	if t.TTL != 0 {
		port.SendTTL(t.To, t.TTL, t.Payload)
		return
	}
	port.SendTo(t.To, t.Payload)
}

// renumber gives n's router another address, as providers do; all mappings
// are lost.
func (n *node) renumber() {
	n.l.nodes++
	if err := n.router.SetExternal(netip.AddrFrom4([4]byte{198, 51, 100, byte(10 + n.l.nodes)})); err != nil {
		n.l.t.Fatal(err)
	}
}

// up reports whether n sends straight to m.
func (n *node) up(m *node) bool {
	p, ok := n.c.Peer(n.l.w.Now(), m.addr())
	return ok && p.Up
}

// settle does what a driver does after each call.
func (n *node) settle() {
	for _, p := range n.out.Open {
		n.open(p)
	}
	for _, t := range n.out.Transmit {
		if n.sent != nil {
			n.sent(t)
		}
		n.transmit(t)
	}
	for _, p := range n.out.Close {
		if port := n.extra[p]; port != nil {
			port.Close()
			delete(n.extra, p)
		}
	}
	for _, p := range n.out.Deliver {
		n.got = append(n.got, got{n.l.w.Now(), append(wire.Packet(nil), p...)})
	}
	refused := slices.ContainsFunc(n.out.Events, func(e engine.Event) bool { return e.Kind == engine.PortRefused })
	n.events = append(n.events, n.out.Events...)
	n.out.Reset()
	if refused {
		n.rebind()
	}
	next := n.c.Next()
	if next.IsZero() || next.Equal(n.tick) {
		return
	}
	n.tick = next
	n.l.w.At(next, func() {
		if n.tick.Equal(next) && !n.asleep {
			n.tick = time.Time{}
			n.c.Tick(n.l.w.Now(), &n.out)
			n.settle()
		}
	})
}

// suspend has n's host sleep for d, and its driver notice.
func (n *node) suspend(d time.Duration) {
	n.asleep = true
	n.l.run(d)
	n.asleep, n.tick = false, time.Time{}
	n.linkChanged()
}

// linkChanged has n's driver tell that the network changed.
func (n *node) linkChanged() {
	n.c.LinkChanged(n.l.w.Now(), &n.out)
	n.settle()
}

func (n *node) start() *node {
	n.c.Start(n.l.w.Now(), &n.out)
	n.settle()
	return n
}

func (n *node) state() engine.ClientState { return n.c.Snapshot() }
func (n *node) addr() netip.Addr          { return n.c.Snapshot().Address.Addr() }
func (n *node) qualified() bool           { return n.c.Snapshot().State == engine.Ready }

// send makes the node's host send a UDP packet of size bytes to dst.
func (n *node) send(dst netip.Addr, size int) { n.sendPacket(udp(n.addr(), dst, size)) }

func (n *node) sendPacket(p []byte) {
	n.c.Send(n.l.w.Now(), p, &n.out)
	n.settle()
}

// count returns how many events of a kind there were.
func (n *node) count(kind engine.EventKind) int {
	k := 0
	for _, e := range n.events {
		if e.Kind == kind {
			k++
		}
	}
	return k
}

// qualify starts nodes and waits for them.
func (l *lab) qualify(nodes ...*node) {
	for _, n := range nodes {
		n.start()
	}
	if !l.until(16*time.Second, func() bool {
		for _, n := range nodes {
			if !n.qualified() {
				return false
			}
		}
		return true
	}) {
		l.t.Fatalf("seed %d: not qualified", l.seed)
	}
}

// packet makes an IPv6 packet.
func packet(src, dst netip.Addr, next byte, payload []byte) []byte {
	b := wire.AppendBubble(nil, src, dst, 64)
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	b[6] = next
	return append(b, payload...)
}

// udp makes an IPv6 packet with a UDP datagram, size bytes in all.
func udp(src, dst netip.Addr, size int) []byte {
	return packet(src, dst, wire.ProtoUDP, make([]byte, size-wire.HeaderSize))
}

package teredo

import (
	"bytes"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/packet"
	"shipworm/teredo/udp"
)

// socketKinds are the ways to a socket, from the fastest to the one that every
// system has.
var socketKinds = []struct {
	name string
	open func(c *net.UDPConn) udp.Socket
}{
	{"runs", func(c *net.UDPConn) udp.Socket { return udp.From(c, udp.Config{Runs: true}) }},
	{"no UDP_GRO", func(c *net.UDPConn) udp.Socket { return udp.From(c, udp.Config{}) }},
	{"no UDP_SEGMENT", func(c *net.UDPConn) udp.Socket { return udp.From(c, udp.Config{Plain: true}) }},
	{"plain calls", func(c *net.UDPConn) udp.Socket { return udp.FromPacketConn(c) }},
}

// fabric joins hosts by the data plane alone: movers, over the kernel's sockets,
// whose machines know every peer.
type fabric struct {
	nodes  []*node
	peers  map[netip.Addr]netip.AddrPort
	random *rand.Rand
	bad    bool // lines lose, repeat, reorder and mark
}

// node is one of its hosts.
type node struct {
	mover
	sockets  []udp.Socket // that share an address, as a relay's
	end      endpoint
	peers    map[netip.Addr]netip.AddrPort
	rng      *rand.Rand // of what arrives; nil for a perfect line
	late     []byte     // held back
	runs, in atomic.Int64
}

// join adds a host. Both ends belong to the fabric from now on.
func (f *fabric) join(d Device, end endpoint, s ...udp.Socket) {
	n := &node{mover: newMover(s[0], d), sockets: s, end: end, peers: f.peers}
	if f.bad {
		n.rng = rand.New(rand.NewPCG(f.random.Uint64(), 0))
	}
	f.nodes = append(f.nodes, n)
}

// exchange runs the movers while everyone sends to everyone.
func (f *fabric) exchange(t *testing.T, total, count int) {
	t.Helper()
	var wg sync.WaitGroup
	var ends []endpoint
	for _, n := range f.nodes {
		ends = append(ends, n.end)
		for _, s := range n.sockets {
			wg.Go(func() { _ = n.run(poisoned(s.ReadBatch), n.never, n.receive, something) })
		}
		wg.Go(func() { _ = n.run(poisoned(n.device.ReadBatch), n.never, n.send, something) })
	}
	defer wg.Wait()
	defer func() {
		for _, n := range f.nodes {
			closeAll(n.sockets)
			n.device.Close()
		}
	}()
	everyone(t, ends, total, count)
	for i, n := range f.nodes {
		if d := n.device.(interface{ Drops() map[string]uint64 }).Drops(); d["checksum"]+d["malformed"] != 0 {
			t.Errorf("host %d: %v", i, d)
		}
	}
}

func (n *node) send(_ time.Time, pkts []packet.Packet, out *engine.Output) {
	for _, p := range pkts {
		to := n.peers[netip.AddrFrom16([16]byte(p.Data()[24:40]))]
		if p.Segment > 0 {
			n.runs.Add(1)
		}
		out.Transmit = append(out.Transmit, engine.Transmit{To: to, Payload: p.Data(), Segment: p.Segment})
	}
}

func (n *node) receive(_ time.Time, pkts []packet.Packet, out *engine.Output) {
	for i := range pkts {
		if pkts[i].Segment > 0 {
			n.in.Add(1)
		}
		for d := range pkts[i].Datagrams() {
			if n.rng == nil {
				out.Deliver = append(out.Deliver, d)
			} else {
				n.line(d, out)
			}
		}
	}
}

// line is a bad one.
func (n *node) line(d []byte, out *engine.Output) {
	if n.rng.IntN(50) == 0 {
		d[1] |= 0x30 // congestion experienced; no checksum covers it
	}
	switch n.rng.IntN(400) {
	case 0:
		return // lost
	case 1:
		out.Deliver = append(out.Deliver, d) // twice
	case 2:
		if n.late == nil {
			n.late = bytes.Clone(d)
			return
		}
	}
	out.Deliver = append(out.Deliver, d)
	if n.late != nil && n.rng.IntN(4) == 0 {
		out.Deliver = append(out.Deliver, n.late)
		n.late = nil
	}
}

func (n *node) never() time.Time { return time.Time{} }

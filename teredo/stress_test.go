package teredo

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/packet"
	"shipworm/teredo/stack"
	"shipworm/teredo/udp"
	"shipworm/testnet/sim"
)

// poisoned spoils what a source read the last time before it reads again:
// whoever kept any of it past its batch delivers garbage, or races.
func poisoned(read func([]packet.Packet) (int, error)) func([]packet.Packet) (int, error) {
	last := 0
	return func(pkts []packet.Packet) (int, error) {
		for _, p := range pkts[:last] { // perhaps more than are asked for now
			spoil(p.Data())
		}
		n, err := read(pkts)
		last = n
		return n, err
	}
}

func spoil(b []byte) {
	for i := range b {
		b[i] = 0xdb
	}
}

// poisonedConn and poisonedDevice do so below a Client.
type poisonedConn struct {
	net.PacketConn
	last []byte
}

func (c *poisonedConn) ReadFrom(b []byte) (int, net.Addr, error) {
	spoil(c.last)
	n, from, err := c.PacketConn.ReadFrom(b)
	c.last = b[:n]
	return n, from, err
}

type poisonedDevice struct {
	*stack.Stack
	read func([]packet.Packet) (int, error)
}

func (d *poisonedDevice) ReadBatch(pkts []packet.Packet) (int, error) { return d.read(pkts) }

// transfer sends random bytes through a TCP connection, in writes of 1 B to
// 64 KiB, and compares what arrives.
func transfer(ctx context.Context, from, to *stack.Stack, port uint16, total int, seed uint64) error {
	l, err := to.Listen(port)
	if err != nil {
		return err
	}
	defer l.Close()
	rng := rand.New(rand.NewPCG(seed, uint64(port)))
	want := make([]byte, total)
	for i := range want {
		want[i] = byte(rng.Uint32())
	}
	sent := make(chan error, 1)
	go func() {
		c, err := from.DialContext(ctx, "tcp", l.Addr().String())
		if err != nil {
			l.Close() // or nobody would come
			sent <- err
			return
		}
		defer c.Close()
		for rest := want; len(rest) > 0 && err == nil; {
			n := min(1+rng.IntN(1<<rng.IntN(17)), len(rest))
			_, err = c.Write(rest[:n])
			rest = rest[n:]
		}
		sent <- err
	}()
	c, err := l.Accept()
	if err != nil {
		return errors.Join(err, <-sent)
	}
	defer c.Close()
	if d, ok := ctx.Deadline(); ok {
		_ = c.SetReadDeadline(d)
	}
	got, err := io.ReadAll(c)
	if err := errors.Join(err, <-sent); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("port %d: %d bytes arrived, not the %d that were written", port, len(got), len(want))
	}
	return nil
}

// datagrams sends count of them, of all sizes, and checks those that arrive:
// that each is one that was sent.
func datagrams(from, to *stack.Stack, port uint16, count int, seed uint64) (arrived int, err error) {
	in, err := to.ListenPacket(port)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := from.ListenPacket(0)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	payload := func(i uint64) []byte {
		rng := rand.New(rand.NewPCG(seed, i))
		b := binary.BigEndian.AppendUint64(nil, i)
		size := 8 + rng.IntN(1225)
		if i%8 < 4 {
			size = 1232 // those that may be joined
		}
		for len(b) < size {
			b = append(b, byte(rng.Uint32()))
		}
		return b
	}
	go func() {
		for i := range uint64(count) {
			_, _ = out.WriteTo(payload(i), in.LocalAddr())
			if i%64 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	}()
	b := make([]byte, 2000)
	for arrived < count {
		_ = in.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		n, _, err := in.ReadFrom(b)
		if err != nil {
			break // the rest is lost
		}
		if n < 8 || !bytes.Equal(b[:n], payload(binary.BigEndian.Uint64(b))) {
			return arrived, fmt.Errorf("port %d: a datagram of %d bytes that nobody sent", port, n)
		}
		arrived++
	}
	if arrived < count/2 {
		err = fmt.Errorf("port %d: %d datagrams of %d arrived", port, arrived, count)
	}
	return arrived, err
}

// everyone has each of the hosts send to each, TCP both ways and UDP, all at once.
func everyone(t *testing.T, hosts []*stack.Stack, total, count int) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for i, a := range hosts {
		for j, b := range hosts {
			if i == j {
				continue
			}
			port := uint16(1000 + 10*i + j)
			for k := range uint16(2) {
				wg.Go(func() {
					if err := transfer(ctx, a, b, port+1000*k, total, uint64(k)); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Go(func() {
				if _, err := datagrams(a, b, port, count, uint64(port)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
}

// node is a host behind a mover whose machine knows every peer: the data plane
// alone, over the kernel's sockets.
type node struct {
	mover
	host  *stack.Stack
	peers map[netip.Addr]netip.AddrPort
	rng   *rand.Rand // of what arrives; nil for a perfect line
	late  []byte     // held back
	runs  atomic.Int64
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
		n.receiveRun(&pkts[i], out)
	}
}

func (n *node) receiveRun(p *packet.Packet, out *engine.Output) {
	for d := range p.Datagrams() {
		switch {
		case n.rng == nil:
		case n.rng.IntN(400) == 0:
			continue // lost
		case n.rng.IntN(400) == 0 && n.late == nil:
			n.late = bytes.Clone(d)
			continue
		case n.late != nil && n.rng.IntN(4) == 0:
			out.Deliver = append(out.Deliver, n.late)
			n.late = nil
		}
		out.Deliver = append(out.Deliver, d)
	}
}

func (n *node) never() time.Time { return time.Time{} }

// TestStress: three hosts exchange TCP and UDP with each other, many flows at a
// time, over sockets of every kind, perfect and bad lines; every byte is
// compared, and no buffer outlives its batch.
func TestStress(t *testing.T) {
	kinds := map[string]func(c *net.UDPConn) udp.Socket{
		"runs":     func(c *net.UDPConn) udp.Socket { return udp.From(c, udp.Config{Runs: true}) },
		"sends":    func(c *net.UDPConn) udp.Socket { return udp.From(c, udp.Config{}) },
		"plain":    func(c *net.UDPConn) udp.Socket { return udp.From(c, udp.Config{Plain: true}) },
		"portable": func(c *net.UDPConn) udp.Socket { return udp.FromPacketConn(c) },
	}
	for name, open := range kinds {
		for _, bad := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, bad line %v", name, bad), func(t *testing.T) {
				var wg sync.WaitGroup
				var nodes []*node
				var hosts []*stack.Stack
				peers := map[netip.Addr]netip.AddrPort{}
				for i := range 3 {
					c, err := udp.ListenPacket(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"), udp.Config{})
					if err != nil {
						t.Fatal(err)
					}
					host, err := stack.New(stack.Config{})
					if err != nil {
						t.Fatal(err)
					}
					addr := netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i + 1)})
					if err := host.SetAddr(addr); err != nil {
						t.Fatal(err)
					}
					n := &node{mover: newMover(open(c), host), host: host, peers: peers}
					if bad {
						n.rng = rand.New(rand.NewPCG(7, uint64(i)))
					}
					peers[addr] = n.socket.LocalAddr()
					nodes, hosts = append(nodes, n), append(hosts, host)
				}
				for _, n := range nodes {
					wg.Go(func() { _ = n.run(poisoned(n.socket.ReadBatch), n.never, n.receive, something) })
					wg.Go(func() { _ = n.run(poisoned(n.host.ReadBatch), n.never, n.send, something) })
				}
				defer wg.Wait()
				defer func() {
					for _, n := range nodes {
						n.socket.Close()
						n.host.Close()
					}
				}()
				everyone(t, hosts, 256<<10, 200)
				for i, n := range nodes {
					if n.runs.Load() == 0 {
						t.Error("no runs: nothing is tested")
					}
					if d := n.host.Drops(); d["checksum"]+d["malformed"] != 0 {
						t.Errorf("host %d: %v", i, d)
					}
				}
			})
		}
	}
}

// TestStressClients: the same through Clients that punch through their NATs over
// lines that lose and reorder: neither machine nor driver keeps what it was lent.
func TestStressClients(t *testing.T) {
	w := newWorld(t, time.Millisecond)
	w.line.Loss, w.line.Reorder = 0.002, 0.002
	w.server()
	var hosts []*stack.Stack
	var clients []*Client
	var addr netip.Addr // of the last
	for range 2 {
		h, _ := w.home("port-restricted")
		host, err := stack.New(stack.Config{})
		if err != nil {
			t.Fatal(err)
		}
		c, err := NewClient(ClientConfig{
			Server: primary.String(), Listen: poisonedListen(h),
			Device: &poisonedDevice{host, poisoned(host.ReadBatch)}, Rand: seeded(w.homes),
		})
		if err != nil {
			t.Fatal(err)
		}
		w.start(c.Run)
		addr = mustQualify(t, c).Addr()
		hosts, clients = append(hosts, host), append(clients, c)
	}
	// Only a few packets wait for a peer that is not up: what follows should pass.
	ctx := deadline(t)
	for err := error(io.EOF); err != nil; {
		one, cancel := context.WithTimeout(ctx, time.Second)
		_, err = hosts[0].Ping(one, addr, 1200)
		cancel()
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	everyone(t, hosts, 128<<10, 100)
	for _, c := range clients {
		if d := c.State().Drops; d[engine.DropMalformed]+d[engine.DropHeader]+d[engine.DropSendMalformed] != 0 {
			t.Errorf("spoilt on the way: %v", d)
		}
	}
}

func poisonedListen(h *sim.Host) func(context.Context, netip.AddrPort) (net.PacketConn, error) {
	return func(_ context.Context, local netip.AddrPort) (net.PacketConn, error) {
		c, err := h.ListenPacket(local)
		if err != nil {
			return nil, err
		}
		return &poisonedConn{PacketConn: c}, nil
	}
}

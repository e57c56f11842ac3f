package teredo

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
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
	for len(b) > 0 { // in pieces, which the race detector takes in one look
		b = b[copy(b, "spoilt! spoilt! spoilt! spoilt! spoilt! spoilt! spoilt! spoilt! "):]
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

var stressSeed = flag.Uint64("stress.seed", 7, "seed of the stress tests")

// random returns a generator for one part of a stress test. A failure says with
// which seed to repeat it.
func random(t *testing.T, part uint64) *rand.Rand {
	t.Cleanup(func() {
		if t.Failed() && part == 0 {
			t.Logf("repeat with -stress.seed %d", *stressSeed)
		}
	})
	return rand.New(rand.NewPCG(*stressSeed, part))
}

// endpoint is a host behind a device, as programs see it.
type endpoint interface {
	Listen(port uint16) (net.Listener, error)
	ListenPacket(port uint16) (net.PacketConn, error)
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// stacked is the userspace host as one.
type stacked struct{ *stack.Stack }

func (s stacked) ListenPacket(port uint16) (net.PacketConn, error) { return s.Stack.ListenPacket(port) }

// transfer sends random bytes through a TCP connection, in writes of 1 B to
// 64 KiB, and compares what arrives.
func transfer(ctx context.Context, from, to endpoint, port uint16, total int, seed uint64) error {
	l, err := to.Listen(port)
	if err != nil {
		return err
	}
	defer l.Close()
	rng := rand.New(rand.NewPCG(seed, uint64(port)))
	want := noise(rng, nil, total)
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

// noise makes b size bytes long.
func noise(rng *rand.Rand, b []byte, size int) []byte {
	for len(b) < size {
		b = binary.BigEndian.AppendUint64(b, rng.Uint64())
	}
	return b[:size]
}

// datagrams sends count of them, of all sizes, again and again until each has
// arrived, and checks that what arrives was sent.
func datagrams(ctx context.Context, from, to endpoint, port uint16, count int, seed uint64) error {
	in, err := to.ListenPacket(port)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := from.ListenPacket(0)
	if err != nil {
		return err
	}
	defer out.Close()
	rng := rand.New(rand.NewPCG(seed, uint64(port)))
	payloads := make([][]byte, count)
	for i := range payloads {
		size := 8 + rng.IntN(1225)
		switch {
		case i%8 < 4:
			size = 1232 // those that may be joined
		case i%16 == 15:
			size += 3000 // those that are fragmented
		}
		payloads[i] = noise(rng, binary.BigEndian.AppendUint64(nil, uint64(i)), size)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() {
		for i := uint64(0); ctx.Err() == nil; i++ {
			_, _ = out.WriteTo(payloads[i%uint64(count)], in.LocalAddr())
			if i%16 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	})
	if d, ok := ctx.Deadline(); ok {
		_ = in.SetReadDeadline(d)
	}
	b := make([]byte, 5000)
	for seen := map[uint64]bool{}; len(seen) < count; {
		n, _, err := in.ReadFrom(b)
		if err != nil {
			return fmt.Errorf("port %d: %d datagrams of %d arrived: %w", port, len(seen), count, err)
		}
		i := binary.BigEndian.Uint64(b)
		if n < 8 || i >= uint64(count) || !bytes.Equal(b[:n], payloads[i]) {
			return fmt.Errorf("port %d: a datagram of %d bytes that nobody sent", port, n)
		}
		seen[i] = true
	}
	return nil
}

// everyone has each of the hosts send to each, TCP both ways and UDP, all at once.
func everyone(t *testing.T, hosts []endpoint, total, count int) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
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
					if err := transfer(ctx, a, b, port+1000*k, total, *stressSeed+uint64(k)); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Go(func() {
				if err := datagrams(ctx, a, b, port, count, *stressSeed+uint64(port)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
}

// TestStress: three hosts exchange TCP and UDP with each other, many flows at a
// time, over sockets of every kind, or several of one, perfect and bad lines; every byte is
// compared, and no buffer outlives its batch.
func TestStress(t *testing.T) {
	type kind struct {
		name   string
		listen func(context.Context) ([]udp.Socket, error)
	}
	local := netip.MustParseAddrPort("127.0.0.1:0")
	kinds := []kind{{"several", func(ctx context.Context) ([]udp.Socket, error) {
		return listenShared(ctx, local, 3, udp.Config{Runs: true})
	}}}
	for _, k := range socketKinds {
		kinds = append(kinds, kind{k.name, func(ctx context.Context) ([]udp.Socket, error) {
			c, err := udp.ListenPacket(ctx, local, udp.Config{})
			return []udp.Socket{k.open(c)}, err
		}})
	}
	for _, kind := range kinds {
		for _, bad := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, bad line %v", kind.name, bad), func(t *testing.T) {
				f := fabric{peers: map[netip.Addr]netip.AddrPort{}, random: random(t, 0), bad: bad}
				for i := range 3 {
					socks, err := kind.listen(t.Context())
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
					f.join(host, stacked{host}, socks...)
					f.peers[addr] = socks[0].LocalAddr()
				}
				f.exchange(t, 128<<10, 100)
				for i, n := range f.nodes {
					if n.runs.Load() == 0 {
						t.Errorf("host %d sent no runs: nothing is tested", i)
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
	var hosts []endpoint
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
		hosts, clients = append(hosts, stacked{host}), append(clients, c)
	}
	// Only a few packets wait for a peer that is not up: what follows should pass.
	ctx := deadline(t)
	for err := error(io.EOF); err != nil; {
		one, cancel := context.WithTimeout(ctx, time.Second)
		_, err = hosts[0].(stacked).Ping(one, addr, 1200)
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

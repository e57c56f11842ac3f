package teredo

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"shipworm/internal/leak"
	"shipworm/teredo/devicetest"
	"shipworm/teredo/engine"
	"shipworm/testnet/invariant"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
)

func TestMain(m *testing.M) {
	if inside, code := enterLab(); !inside {
		os.Exit(code)
	}
	goleak.VerifyTestMain(leak.Patient(m), goleak.Cleanup(func(code int) {
		leaveLab()
		os.Exit(code)
	}))
}

var (
	primary   = netip.MustParseAddr("203.0.113.1")
	secondary = netip.MustParseAddr("203.0.113.2")
)

// world is a simulated Internet on the clock of the test, real or virtual: a
// host for a server, and homes behind NATs. The invariants of L-05 hold on
// every packet.
type world struct {
	t     testing.TB
	w     *sim.World
	host  *sim.Host // of the server
	line  link.Config
	homes int

	mu   sync.Mutex
	sent map[string]int // datagrams sent, by host
}

// newWorld makes a world that runs until the test ends. The delay is that of
// each access line in each direction, so a round trip between two public
// hosts is four times it.
func newWorld(t testing.TB, delay time.Duration) *world {
	w := &world{t: t, w: sim.New(1, time.Now()), line: link.Config{Delay: delay}, sent: map[string]int{}}
	invariant.Install(t, w.w, invariant.Config{Denied: engine.DeniedRanges(), Factor: map[string]float64{"server": 2.2}})
	w.w.SetTrace(func(e sim.Event) {
		if e.Kind == sim.Sent {
			w.mu.Lock()
			w.sent[e.Node]++
			w.mu.Unlock()
		}
	})
	var err error
	if w.host, err = w.w.Host("server", w.line, primary, secondary); err != nil {
		t.Fatal(err)
	}
	w.start(w.w.Run)
	return w
}

// start runs f until the test ends, and waits for it then.
func (w *world) start(f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = f(ctx) }()
	w.t.Cleanup(func() { cancel(); <-done })
}

// home adds a host behind a NAT of its own.
func (w *world) home(profile string) (h *sim.Host, r *sim.Router) {
	w.t.Helper()
	w.homes++
	cfg, ok := nat.Profile(profile)
	if !ok {
		w.t.Fatalf("no NAT profile %q", profile)
	}
	cfg.External = []netip.Addr{netip.AddrFrom4([4]byte{198, 51, 100, byte(w.homes)})}
	var err error
	w.w.Do(func() {
		if r, err = w.w.Router(fmt.Sprint("router", w.homes), cfg, w.line); err == nil {
			h, err = r.Host(fmt.Sprint("home", w.homes), link.Config{}, netip.MustParseAddr("192.168.1.2"))
		}
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return h, r
}

func (w *world) sentBy(h *sim.Host) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent[h.Name()]
}

// listenOn makes a Listen hook of a simulated host.
func listenOn(h *sim.Host) func(context.Context, netip.AddrPort) (net.PacketConn, error) {
	return func(_ context.Context, local netip.AddrPort) (net.PacketConn, error) { return h.ListenPacket(local) }
}

// server runs a Teredo server until the test ends.
func (w *world) server() *Server {
	w.t.Helper()
	s, err := NewServer(ServerConfig{Primary: primary, Secondary: secondary, Listen: listenOn(w.host)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.start(s.Run)
	return s
}

// seeded is a deterministic source of randomness.
func seeded(n int) *rand.ChaCha8 {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], uint64(n))
	return rand.NewChaCha8(key)
}

// client makes a client on h that ends in an in-memory device, and runs it
// until the test ends.
func (w *world) client(h *sim.Host, change func(*ClientConfig)) (*Client, *memory) {
	w.t.Helper()
	d := newMemory()
	cfg := ClientConfig{Server: primary.String(), Listen: listenOn(h), Device: d, Rand: seeded(w.homes)}
	if change != nil {
		change(&cfg)
	}
	c, err := NewClient(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.start(c.Run)
	return c, d
}

// memory is an in-memory device, under the names of the tunnel's side.
type memory struct {
	*devicetest.Memory
	toTunnel chan<- []byte // write here what the host sends
	fromIt   <-chan []byte // what arrived
	addrs    <-chan netip.Addr
}

func newMemory() *memory {
	m := devicetest.NewMemory()
	return &memory{m, m.FromHost, m.ToHost, m.Addrs}
}

// udp6 is an IPv6 packet with a UDP datagram; the checksum is not looked at
// on the way.
func udp6(from, to netip.Addr, data string) []byte {
	b := make([]byte, 48, 48+len(data))
	b[0], b[6], b[7] = 0x60, 17, 64
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(data)))
	f, d := from.As16(), to.As16()
	copy(b[8:], f[:])
	copy(b[24:], d[:])
	binary.BigEndian.PutUint16(b[40:], 50000)
	binary.BigEndian.PutUint16(b[42:], 50000)
	binary.BigEndian.PutUint16(b[44:], uint16(8+len(data)))
	return append(b, data...)
}

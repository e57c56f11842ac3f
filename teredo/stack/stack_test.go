package stack

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"shipworm/internal/leak"
	"shipworm/teredo/packet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leak.Patient(m)) }

var (
	addrA = netip.MustParseAddr("2001:0:cb00:7178:0:efff:3fff:fdfe")
	addrB = netip.MustParseAddr("2001:0:c633:6476:0:dfff:3fff:fdf5")
	addrC = netip.MustParseAddr("2001:0:cb00:7178:0:f000:39cc:9b89")
)

func newStack(t testing.TB, c Config, a netip.Addr) *Stack {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.SetAddr(a); err != nil {
		t.Fatal(err)
	}
	return s
}

// pump carries packets from one device to the other until it is closed.
func pump(from, to *Stack, size int, wg *sync.WaitGroup) {
	wg.Go(func() {
		pkts := packet.NewBatch(64, size)
		for {
			n, err := from.ReadBatch(pkts)
			if err != nil {
				return
			}
			if _, err := to.WriteBatch(pkts[:n]); err != nil {
				return
			}
		}
	})
}

// pair returns two hosts joined by a perfect wire.
func pair(t testing.TB) (a, b *Stack) {
	t.Helper()
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait) // runs after the stacks are closed
	a, b = newStack(t, Config{}, addrA), newStack(t, Config{}, addrB)
	pump(a, b, packet.RunSize, &wg)
	pump(b, a, packet.RunSize, &wg)
	return a, b
}

func ctxT(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestUDPRoundTrip(t *testing.T) {
	a, b := pair(t)
	pa, err := a.ListenPacket(0)
	if err != nil {
		t.Fatal(err)
	}
	if p := pa.LocalAddr().(*net.UDPAddr).Port; p < FirstPort {
		t.Errorf("port %d was picked, want at least %d", p, FirstPort)
	}
	pb, err := b.ListenPacket(4000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pa.WriteTo([]byte("ping"), pb.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, from, err := pb.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "ping" || from.String() != pa.LocalAddr().String() {
		t.Fatalf("got %q from %v, %v; want \"ping\" from %v", buf[:n], from, err, pa.LocalAddr())
	}
	if _, err := pb.WriteTo([]byte("pong"), from); err != nil {
		t.Fatal(err)
	}
	if n, _, err = pa.ReadFrom(buf); err != nil || string(buf[:n]) != "pong" {
		t.Fatalf("got %q, %v", buf[:n], err)
	}
}

func TestWriteToRefusesBadAddresses(t *testing.T) {
	a := newStack(t, Config{}, addrA)
	pc, err := a.ListenPacket(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []net.Addr{
		nil, (*net.UDPAddr)(nil), &net.TCPAddr{}, &net.UDPAddr{}, &net.UDPAddr{IP: net.IP{1, 2, 3}},
		&net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5},
	} {
		if _, err := pc.WriteTo([]byte("x"), to); err == nil {
			t.Errorf("WriteTo(%v) gave no error", to)
		}
	}
}

func TestTCPRoundTrip(t *testing.T) {
	a, b := pair(t)
	l, err := b.Listen(80)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		io.Copy(c, c)
	})
	c, err := a.DialContext(ctxT(t), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := make([]byte, 200_000)
	for i := range want {
		want[i] = byte(i * 7)
	}
	wg.Go(func() { c.Write(want) })
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != string(want) {
		t.Fatalf("echo differs, %v", err)
	}
}

func TestDeadlines(t *testing.T) {
	a, b := pair(t)
	pc, err := a.ListenPacket(0)
	if err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Second)
	pc.SetReadDeadline(past)
	_, _, err = pc.ReadFrom(make([]byte, 10))
	var ne net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("UDP read past its deadline: %v", err)
	}
	pc.SetReadDeadline(time.Time{})

	l, err := b.Listen(80)
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.DialContext(ctxT(t), "tcp6", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(past)
	if _, err := c.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("TCP read past its deadline: %v", err)
	}
}

func TestCloseUnblocks(t *testing.T) {
	tests := []struct {
		name  string
		start func(t *testing.T, a, b *Stack) (block func() error, closer func() error)
	}{
		{"packet conn", func(t *testing.T, a, _ *Stack) (func() error, func() error) {
			pc, err := a.ListenPacket(0)
			if err != nil {
				t.Fatal(err)
			}
			return func() error { _, _, err := pc.ReadFrom(make([]byte, 10)); return err }, pc.Close
		}},
		{"packet conn by its stack", func(t *testing.T, a, _ *Stack) (func() error, func() error) {
			pc, err := a.ListenPacket(0)
			if err != nil {
				t.Fatal(err)
			}
			return func() error { _, _, err := pc.ReadFrom(make([]byte, 10)); return err }, a.Close
		}},
		{"listener", func(t *testing.T, a, _ *Stack) (func() error, func() error) {
			l, err := a.Listen(0)
			if err != nil {
				t.Fatal(err)
			}
			return func() error { _, err := l.Accept(); return err }, l.Close
		}},
		{"listener by its stack", func(t *testing.T, a, _ *Stack) (func() error, func() error) {
			l, err := a.Listen(0)
			if err != nil {
				t.Fatal(err)
			}
			return func() error { _, err := l.Accept(); return err }, a.Close
		}},
		{"connection", func(t *testing.T, a, b *Stack) (func() error, func() error) {
			l, err := b.Listen(80)
			if err != nil {
				t.Fatal(err)
			}
			c, err := a.DialContext(ctxT(t), "tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			return func() error { _, err := c.Read(make([]byte, 10)); return err }, c.Close
		}},
		{"device", func(t *testing.T, _, _ *Stack) (func() error, func() error) {
			s := newStack(t, Config{}, addrC)
			return func() error { _, err := s.ReadBatch(packet.NewBatch(1, packet.DefaultSize)); return err }, s.Close
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := pair(t)
			block, closer := tt.start(t, a, b)
			done := make(chan error, 1)
			go func() { done <- block() }()
			if err := closer(); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-done:
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("blocked call returned %v, want net.ErrClosed", err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("still blocked after Close")
			}
		})
	}
}

func TestAddressChange(t *testing.T) {
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	a, b := pair(t)
	pa, _ := a.ListenPacket(5000)
	pb, _ := b.ListenPacket(6000)
	l, err := b.Listen(80)
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.DialContext(ctxT(t), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}

	if err := a.SetAddr(netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	if n, err := pa.WriteTo([]byte("lost"), pb.LocalAddr()); n != 4 || err != nil {
		t.Errorf("WriteTo without an address = %d, %v; want it dropped quietly", n, err)
	}
	if d := a.Drops()[DropNoAddress.String()]; d != 1 {
		t.Errorf("%d drops for want of an address, want 1", d)
	}
	if _, err := a.DialContext(ctxT(t), "tcp", l.Addr().String()); !errors.Is(err, ErrNoAddress) {
		t.Errorf("dial without an address: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlived its address")
	}

	if err := a.SetAddr(addrC); err != nil {
		t.Fatal(err)
	}
	if got := pa.LocalAddr().String(); got != netip.AddrPortFrom(addrC, 5000).String() {
		t.Errorf("LocalAddr = %v after the change", got)
	}
	if _, err := pa.WriteTo([]byte("from C"), pb.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, from, err := pb.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "from C" || from.String() != pa.LocalAddr().String() {
		t.Fatalf("got %q from %v, %v", buf[:n], from, err)
	}
	if _, err := pb.WriteTo([]byte("to C"), from); err != nil {
		t.Fatal(err)
	}
	if n, _, err = pa.ReadFrom(buf); err != nil || string(buf[:n]) != "to C" {
		t.Fatalf("got %q, %v", buf[:n], err)
	}
}

func TestPing(t *testing.T) {
	a, _ := pair(t)
	for _, size := range []int{0, 8, 56, MaxPing} {
		if rtt, err := a.Ping(ctxT(t), addrB, size); err != nil || rtt <= 0 {
			t.Errorf("size %d: rtt %v, %v", size, rtt, err)
		}
	}
	if _, err := a.Ping(ctxT(t), addrB, MaxPing+1); err == nil {
		t.Error("an echo longer than the MTU gave no error")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := a.Ping(ctx, addrC, 56); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ping of nobody: %v, want the context's error", err)
	}
}

func TestConfigErrors(t *testing.T) {
	for _, c := range []Config{{MTU: 1279}, {MTU: 70000}, {Queue: -1}} {
		if s, err := New(c); err == nil {
			s.Close()
			t.Errorf("New(%+v) gave no error", c)
		}
	}
	s := newStack(t, Config{}, addrA)
	for _, a := range []string{"192.0.2.1", "::ffff:192.0.2.1", "fe80::1%eth0"} {
		if err := s.SetAddr(netip.MustParseAddr(a)); err == nil {
			t.Errorf("SetAddr(%s) gave no error", a)
		}
	}
}

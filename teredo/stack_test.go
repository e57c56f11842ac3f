package teredo

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"shipworm/testnet/sim"
)

// These tests run the userspace stack, which needs the real clock.

// full makes and runs a client with the userspace stack.
func (w *world) full(h *sim.Host) *Client {
	w.t.Helper()
	c, err := NewClient(ClientConfig{Server: primary.String(), Listen: listenOn(h)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.start(c.Run)
	return c
}

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// Ping, UDP and TCP between two homes.
func TestSockets(t *testing.T) {
	w := newWorld(t, time.Millisecond)
	w.server()
	ha, _ := w.home("port-restricted")
	hb, _ := w.home("port-restricted")
	a, b := w.full(ha), w.full(hb)
	ctx := deadline(t)
	to, err := b.WaitQualified(ctx)
	if err != nil {
		t.Fatal(err)
	}
	rtt, err := a.Ping(ctx, to.Addr(), 56)
	if err != nil {
		t.Fatal(err)
	}
	again, err := a.Ping(ctx, to.Addr(), 56)
	if err != nil || again < 4*time.Millisecond {
		t.Errorf("second ping %v, %v; the lines alone take 4ms", again, err)
	}
	t.Logf("first ping %v with the punching, then %v", rtt, again)

	l, err := b.Listen(ctx, 0)
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
	c, err := a.DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("through two NATs")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "through two NATs" {
		t.Errorf("echo %q, %v", buf, err)
	}

	pa, err := a.ListenPacket(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	pb, err := b.ListenPacket(ctx, 50001)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pa.WriteTo([]byte("datagram"), pb.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	n, from, err := pb.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "datagram" || from.String() != pa.LocalAddr().String() {
		t.Errorf("read %q from %v, %v", buf[:n], from, err)
	}
	if _, err := b.ListenPacket(ctx, 50001); err == nil {
		t.Error("a port was opened twice")
	} else if pc, _ := b.ListenPacket(ctx, 50001); pc != nil {
		t.Error("a failed ListenPacket returned a socket")
	}
}

// A hundred clients, one after the other: most end within a second, whatever
// they were doing, and leave nothing (TestMain looks for goroutines). TR-13
func TestHundredCycles(t *testing.T) {
	w := newWorld(t, 100*time.Microsecond)
	w.server()
	h, _ := w.home("port-restricted")
	var took []time.Duration
	for i := range 100 {
		c, err := NewClient(ClientConfig{Server: primary.String(), Listen: listenOn(h)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		blocked := make(chan error, 1)
		switch i % 3 {
		case 0: // in the middle of qualification
		case 1:
			mustQualify(t, c)
		case 2:
			pc, err := c.ListenPacket(deadline(t), 0)
			if err != nil {
				t.Fatal(err)
			}
			go func() { _, _, err := pc.ReadFrom(make([]byte, 10)); blocked <- err }()
		}
		start := time.Now()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("cycle %d: Run = %v", i, err)
		}
		took = append(took, time.Since(start))
		if i%3 == 2 {
			if err := <-blocked; !errors.Is(err, net.ErrClosed) {
				t.Errorf("cycle %d: a blocked reader got %v", i, err)
			}
		}
	}
	slices.Sort(took) // the slowest measures the machine
	if most := took[len(took)/2]; most > time.Second {
		t.Errorf("half took %v to end, want at most 1s", most)
	}
	t.Logf("slowest end: %v", took[len(took)-1])
}

// BenchmarkQualify is the time to an address over lines with a round trip of
// 50 ms, userspace stack included. The goal is one round trip and 50 ms.
func BenchmarkQualify(b *testing.B) {
	w := newWorld(b, 12500*time.Microsecond)
	w.server()
	h, _ := w.home("port-restricted")
	var total time.Duration
	n := 0
	for b.Loop() {
		c, err := NewClient(ClientConfig{Server: primary.String(), Listen: listenOn(h)})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		start := time.Now()
		go func() { defer close(ended); _ = c.Run(ctx) }()
		mustQualify(b, c)
		total += time.Since(start)
		n++
		cancel()
		<-ended
	}
	b.ReportMetric(float64(total.Microseconds())/1000/float64(n), "ms/qualify")
	b.ReportMetric(0, "ns/op")
}

package sim_test

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"shipworm/internal/leak"
	"shipworm/testnet/link"
	"shipworm/testnet/sim"
)

// L-06: nothing that a test started outlives it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(leak.Patient(m)) }

// pair is a world with two hosts 40 ms apart, moved by Run for the test.
func pair(t *testing.T) (*sim.World, net.PacketConn, net.PacketConn) {
	t.Helper()
	w := sim.New(1, time.Now())
	line := link.Config{Delay: 20 * time.Millisecond}
	a, err := w.Host("a", line, addr("198.51.100.1"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := w.Host("b", line, addr("198.51.100.2"))
	if err != nil {
		t.Fatal(err)
	}
	pa, err := a.ListenPacket(addrPort("198.51.100.1:1000"))
	if err != nil {
		t.Fatal(err)
	}
	pb, err := b.ListenPacket(addrPort("0.0.0.0:2000"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
		pa.Close()
		pb.Close()
	})
	return w, pa, pb
}

func TestConnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t)
		start := time.Now()
		if _, err := a.WriteTo([]byte("ping"), b.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		n, from, err := b.ReadFrom(buf)
		if err != nil || string(buf[:n]) != "ping" || from.String() != "198.51.100.1:1000" {
			t.Fatalf("read %q from %v: %v", buf[:n], from, err)
		}
		if got := time.Since(start); got != 40*time.Millisecond {
			t.Errorf("one way took %v, want 40ms", got)
		}
	})
}

func TestConnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t)
		buf := make([]byte, 100)
		start := time.Now()
		a.SetReadDeadline(start.Add(10 * time.Millisecond))
		_, _, err := a.ReadFrom(buf)
		var ne net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
			t.Fatalf("want a timeout, got %v", err)
		}
		if got := time.Since(start); got != 10*time.Millisecond {
			t.Errorf("deadline came after %v", got)
		}
		// Lifted, the socket reads again; a deadline set meanwhile wakes it.
		a.SetReadDeadline(time.Time{})
		b.WriteTo([]byte("x"), a.LocalAddr())
		if n, _, err := a.ReadFrom(buf); n != 1 || err != nil {
			t.Fatalf("read %d, %v after lifting the deadline", n, err)
		}
		go func() {
			time.Sleep(time.Second)
			a.SetReadDeadline(time.Now())
		}()
		if _, _, err := a.ReadFrom(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("a blocked read got %v", err)
		}
		a.SetWriteDeadline(time.Now())
		if _, err := a.WriteTo(buf, b.LocalAddr()); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("write past its deadline got %v", err)
		}
	})
}

func TestConnClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t)
		got := make(chan error, 1)
		go func() {
			_, _, err := a.ReadFrom(make([]byte, 1))
			got <- err
		}()
		synctest.Wait()
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-got; !errors.Is(err, net.ErrClosed) {
			t.Errorf("a blocked read got %v", err)
		}
		if _, err := a.WriteTo(nil, b.LocalAddr()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write after Close got %v", err)
		}
		if err := a.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close got %v", err)
		}
	})
}

// The same code on the real clock: slow machines only make it later.
func TestConnRealClock(t *testing.T) {
	_, a, b := pair(t)
	start := time.Now()
	if _, err := a.WriteTo([]byte("ping"), b.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if n, _, err := b.ReadFrom(buf); n != 4 || err != nil {
		t.Fatalf("read %d, %v", n, err)
	}
	if got := time.Since(start); got < 40*time.Millisecond {
		t.Errorf("40 ms of line took %v", got)
	}
}

func TestRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, _ := pair(t)
		synctest.Wait()
		if err := w.Run(t.Context()); !errors.Is(err, sim.ErrRunning) {
			t.Errorf("second Run got %v", err)
		}
	})
}

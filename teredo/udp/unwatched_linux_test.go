package udp

import (
	"context"
	"errors"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"shipworm/teredo/packet"
)

func openBusy(t *testing.T) (Socket, *unwatched) {
	t.Helper()
	s, err := Listen(context.Background(), loopback, Config{Busy: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	u, ok := s.(*mmsgSocket).raw.(*unwatched)
	if !ok {
		t.Fatal("the poller watches the socket")
	}
	return s, u
}

// One datagram at a time puts the reader to sleep each time, and no datagram
// and no wake-up gets lost.
func TestBusySocketSleepsAndWakes(t *testing.T) {
	a, u := openBusy(t)
	b, _ := openBusy(t)
	out := make([]packet.Packet, 1)
	out[0].Set([]byte("ping"), b.LocalAddr())
	echoed := make(chan error, 1)
	go func() {
		pkts := packet.NewBatch(4, packet.DefaultSize)
		for {
			n, err := b.ReadBatch(pkts)
			if err != nil {
				echoed <- err
				return
			}
			if _, err := b.WriteBatch(pkts[:n]); err != nil {
				echoed <- err
				return
			}
		}
	}()
	in := packet.NewBatch(4, packet.DefaultSize)
	for range 5000 {
		if _, err := a.WriteBatch(out); err != nil {
			t.Fatal(err)
		}
		if n, err := a.ReadBatch(in); n != 1 || err != nil || string(in[0].Data()) != "ping" {
			t.Fatalf("ReadBatch = %d, %v", n, err)
		}
	}
	if u.readerWaiting {
		t.Error("the socket is watched although nobody waits")
	}
	b.Close()
	if err := <-echoed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the reader ended with %v, want net.ErrClosed", err)
	}
}

// A second Close must not close a descriptor that by then is somebody else's.
func TestBusySocketClosesOnce(t *testing.T) {
	s, u := openBusy(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var p [2]int
	for p[0] != u.fd && p[1] != u.fd { // until the number is in use again
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(p[0])
		defer unix.Close(p[1])
	}
	if err := s.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v, want net.ErrClosed", err)
	}
	if _, err := unix.FcntlInt(uintptr(u.fd), unix.F_GETFD, 0); err != nil {
		t.Errorf("the descriptor's next owner lost it: %v", err)
	}
}

// A full socket waits in the kernel; what is sent arrives.
func TestBusySocketWaitsForRoom(t *testing.T) {
	s, u := openBusy(t)
	calls := 0
	if err := u.Write(func(uintptr) bool { calls++; return calls == 3 }); err != nil || calls != 3 {
		t.Errorf("Write = %v after %d calls, want nil after 3", err, calls)
	}
	s.Close()
	if err := u.Write(func(uintptr) bool { return true }); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close: %v, want net.ErrClosed", err)
	}
}

// Close ends whoever waits without the poller, too.
func TestBusySocketClosesUnwatched(t *testing.T) {
	s, u := openBusy(t)
	u.event.Events = unix.EPOLLIN | unix.EPOLLEXCLUSIVE | unix.EPOLLONESHOT // which the kernel refuses
	waits := make(chan struct{}, 2)
	ended := make(chan error, 2)
	for _, wait := range []func(func(uintptr) bool) error{u.Read, u.Write} {
		go func() {
			said := false
			ended <- wait(func(uintptr) bool {
				if !said {
					said = true
					waits <- struct{}{}
				}
				return false
			})
		}()
	}
	<-waits
	<-waits
	s.Close()
	for range 2 {
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("ended with %v, want net.ErrClosed", err)
		}
	}
}

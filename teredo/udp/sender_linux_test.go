package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"shipworm/teredo/packet"
)

// A busy socket sends through a second one, that sets no DF bit either. T-34
func TestBusySocketSendsThroughAnother(t *testing.T) {
	s, u := openBusy(t)
	if err := SendApart([]Socket{s}); err != nil {
		t.Fatal(err)
	}
	if u.send == u.fd {
		t.Fatal("it sends through the one that receives")
	}
	peer, err := unix.Getpeername(u.send)
	if err != nil {
		t.Fatal("not connected:", err)
	}
	if p := peer.(*unix.SockaddrInet4); netip.AddrPortFrom(netip.AddrFrom4(p.Addr), uint16(p.Port)) != s.LocalAddr() {
		t.Errorf("connected to %v", p)
	}
	if v, err := unix.GetsockoptInt(u.send, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER); err != nil || v != unix.IP_PMTUDISC_DONT {
		t.Errorf("IP_MTU_DISCOVER = %d, %v; want IP_PMTUDISC_DONT", v, err)
	}
}

// Whatever is opened, in which order, what comes goes to those who read, and
// nobody else gets the port.
func TestBusySocketKeepsItsPort(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			at := loopback
			arrived := make(chan netip.AddrPort)
			var socks []Socket
			for range n {
				s, err := Listen(t.Context(), at, Config{Busy: true, Shared: n > 1})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				at = s.LocalAddr()
				socks = append(socks, s)
			}
			if err := SendApart(socks); err != nil {
				t.Fatal(err)
			}
			for _, s := range socks {
				if u := s.(*mmsgSocket).raw.(*unwatched); u.send == u.fd {
					t.Error("it sends through the one that receives")
				}
				go func() {
					pkts := packet.NewBatch(1, packet.DefaultSize)
					for {
						if _, err := s.ReadBatch(pkts); err != nil {
							return
						}
						arrived <- pkts[0].Addr
					}
				}()
			}
			for range 32 {
				s, _ := openBusy(t)
				out := make([]packet.Packet, 1)
				out[0].Set([]byte("ping"), at)
				if _, err := s.WriteBatch(out); err != nil {
					t.Fatal(err)
				}
				if from := <-arrived; from != s.LocalAddr() {
					t.Fatalf("from %v, want %v", from, s.LocalAddr())
				}
			}
			lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
				return errors.Join(raw.Control(func(fd uintptr) { err = share(int(fd), 1) }), err)
			}}
			if c, err := lc.ListenPacket(context.Background(), "udp4", at.String()); err == nil {
				c.Close()
				t.Error("somebody else has the port")
			}
		})
	}
}

// Where every address of the host is meant, the receiver sends, and lets nobody
// else in either.
func TestBusySocketOnAllAddresses(t *testing.T) {
	s, err := Listen(t.Context(), netip.MustParseAddrPort("0.0.0.0:0"), Config{Busy: true, Shared: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := SendApart([]Socket{s}); err != nil {
		t.Fatal(err)
	}
	u := s.(*mmsgSocket).raw.(*unwatched)
	if u.send != u.fd {
		t.Error("it sends through another")
	}
	if v, err := unix.GetsockoptInt(u.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR); v != 0 || err != nil {
		t.Errorf("SO_REUSEADDR = %d, %v", v, err)
	}
}

// Who takes the address while others can have it is noticed.
func TestBusySocketNoticesOthers(t *testing.T) {
	s, u := openBusy(t)
	if err := share(u.fd, 1); err != nil {
		t.Fatal(err)
	}
	thief, err := newSender(s.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(thief)
	if err := SendApart([]Socket{s}); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("%v, want EADDRINUSE", err)
	}
}

// Nor does it take for one who did what others open and close meanwhile, while
// the system lists its sockets.
func TestBusySocketAmongOthers(t *testing.T) {
	stop := make(chan struct{})
	var others sync.WaitGroup
	for range 4 {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				var open []net.PacketConn
				for range 60 {
					if c, err := net.ListenPacket("udp4", "127.0.0.1:0"); err == nil {
						open = append(open, c)
					}
				}
				for _, c := range open {
					c.Close()
				}
			}
		})
	}
	for range 300 {
		s, _ := openBusy(t)
		if err := SendApart([]Socket{s}); err != nil {
			t.Error(err)
		}
		s.Close()
	}
	close(stop)
	others.Wait()
}

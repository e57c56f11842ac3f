package sim_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"shipworm/testnet/sim"
)

// A socket that nobody reads holds a bounded number of datagrams, drops the
// newest and counts them.
func TestConnQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t)
		const sent = 600
		for i := range sent {
			if _, err := a.WriteTo(fmt.Append(nil, i), b.LocalAddr()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		buf := make([]byte, 10)
		b.SetReadDeadline(time.Now())
		b.SetReadDeadline(time.Now().Add(time.Second))
		got := 0
		for {
			n, _, err := b.ReadFrom(buf)
			if err != nil {
				break
			}
			if string(buf[:n]) != fmt.Sprint(got) {
				t.Fatalf("datagram %d is %q", got, buf[:n])
			}
			got++
		}
		if d := b.(*sim.Conn).Dropped(); got == 0 || got+int(d) != sent {
			t.Errorf("%d read and %d dropped of %d", got, d, sent)
		}
	})
}

// Many readers and writers share a socket; each datagram is read once.
func TestConnConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t)
		const writers, each = 8, 50
		var mu sync.Mutex
		seen := map[string]int{}
		var readers, writing sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				buf := make([]byte, 20)
				for {
					n, _, err := b.ReadFrom(buf)
					if errors.Is(err, net.ErrClosed) {
						return
					}
					mu.Lock()
					seen[string(buf[:n])]++
					mu.Unlock()
				}
			})
		}
		for w := range writers {
			writing.Go(func() {
				for i := range each {
					a.WriteTo(fmt.Appendf(nil, "%d/%d", w, i), b.LocalAddr())
					time.Sleep(time.Millisecond)
				}
			})
		}
		writing.Wait()
		time.Sleep(time.Second)
		b.Close()
		readers.Wait()
		if len(seen) != writers*each {
			t.Errorf("%d different datagrams, want %d", len(seen), writers*each)
		}
		for k, n := range seen {
			if n != 1 {
				t.Errorf("%s read %d times", k, n)
			}
		}
	})
}

type textAddr string

func (a textAddr) Network() string { return "udp" }
func (a textAddr) String() string  { return string(a) }

// WriteTo takes any address that spells one, also an IPv4-mapped one, and
// refuses the rest without a panic.
func TestConnAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t)
		buf := make([]byte, 10)
		for _, to := range []net.Addr{
			textAddr("198.51.100.2:2000"),
			&net.UDPAddr{IP: net.IPv4(198, 51, 100, 2), Port: 2000},
			net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[::ffff:198.51.100.2]:2000")),
		} {
			if _, err := a.WriteTo([]byte("x"), to); err != nil {
				t.Errorf("%v: %v", to, err)
				continue
			}
			if _, from, err := b.ReadFrom(buf); err != nil || from.String() != "198.51.100.1:1000" {
				t.Errorf("%v: from %v, %v", to, from, err)
			}
		}
		for _, to := range []net.Addr{nil, (*net.UDPAddr)(nil), &net.UDPAddr{}, textAddr("server"), textAddr("[2001:db8::1]:1")} {
			if _, err := a.WriteTo([]byte("x"), to); err == nil {
				t.Errorf("%v was accepted", to)
			}
		}
	})
}

// A read takes what fits and loses the rest of a datagram, as UDP does.
func TestConnShortRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t)
		a.WriteTo([]byte("long"), b.LocalAddr())
		a.WriteTo([]byte("next"), b.LocalAddr())
		buf := make([]byte, 2)
		if n, _, err := b.ReadFrom(buf); n != 2 || err != nil || string(buf) != "lo" {
			t.Errorf("%d %q %v", n, buf, err)
		}
		if n, _, err := b.ReadFrom(buf); n != 2 || err != nil || string(buf) != "ne" {
			t.Errorf("%d %q %v", n, buf, err)
		}
	})
}

// A port that a closed socket left can be opened again.
func TestConnPortIsFreed(t *testing.T) {
	w := sim.New(1, start)
	h, err := w.Host("h", linkZero, addr("198.51.100.1"))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c, err := h.ListenPacket(addrPort("198.51.100.1:500"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.ListenPacket(addrPort("198.51.100.1:500")); !errors.Is(err, sim.ErrPortInUse) {
			t.Errorf("opened twice: %v", err)
		}
		c.Close()
	}
}

package stack

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"

	"shipworm/teredo/packet"
)

// A slowPair is two connected hosts. What b sends takes as long as delay says.
type slowPair struct {
	a, b       *Stack
	delay      atomic.Int64
	from, into net.Conn // from a, into b
}

func newSlowPair(t *testing.T, delay time.Duration) *slowPair {
	t.Helper()
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	p := &slowPair{a: newStack(t, Config{}, addrA), b: newStack(t, Config{}, addrB)}
	p.delay.Store(int64(delay))
	pump(p.a, p.b, packet.RunSize, &wg)
	wg.Go(func() {
		pkts := packet.NewBatch(64, packet.RunSize)
		for {
			n, err := p.b.ReadBatch(pkts)
			if err != nil {
				return
			}
			time.Sleep(time.Duration(p.delay.Load()))
			_, _ = p.a.WriteBatch(pkts[:n])
		}
	})
	p.from, p.into = connect(t, p.a, p.b)
	return p
}

// connect makes a TCP connection from a to b, and returns its two ends.
func connect(t *testing.T, a, b *Stack) (from, into net.Conn) {
	t.Helper()
	l, err := b.Listen(80)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if from, err = a.DialContext(ctxT(t), "tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if into, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return from, into
}

// TestLateAcks: acknowledgements that come late, but well within the
// retransmission timeout, are no loss: nothing is sent again.
func TestLateAcks(t *testing.T) {
	for range 20 {
		p := newSlowPair(t, 0)
		before := p.a.Retransmits() // of its SYN
		buf := make([]byte, 9000)
		for i := range 10 {
			if i == 9 {
				p.delay.Store(int64(50 * time.Millisecond))
			}
			if _, err := p.from.Write(buf); err != nil {
				t.Fatal(err)
			}
			for n := 0; n < len(buf); {
				k, err := p.into.Read(buf[n:])
				if err != nil {
					t.Fatal(err)
				}
				n += k
			}
		}
		time.Sleep(60 * time.Millisecond)
		if p.a.s.Stats().TCP.Timeouts.Value() > 0 {
			continue // the machine stood still
		}
		if n := p.a.Retransmits() - before; n > 0 {
			t.Errorf("%d segments sent again", n)
		}
		return
	}
	t.Error("no try without a timeout")
}

// TestShortPath: the congestion control is the one for the round trip.
func TestShortPath(t *testing.T) {
	for _, test := range []struct {
		delay time.Duration
		want  tcpip.CongestionControlOption
	}{{0, "reno"}, {20 * time.Millisecond, "cubic"}} {
		t.Run(string(test.want), func(t *testing.T) {
			var got tcpip.CongestionControlOption
			for range 10 { // the machine may stand still
				p := newSlowPair(t, test.delay)
				for h, c := range map[*Stack]net.Conn{p.a: p.from, p.b: p.into} {
					ep := h.endpoint(c.(*tcpConn).TCPConn)
					if ep == nil {
						t.Fatal("no endpoint")
					}
					if err := ep.GetSockOpt(&got); err != nil {
						t.Fatal(err)
					}
					if got != test.want {
						break
					}
				}
				if got == test.want {
					return
				}
			}
			t.Errorf("%s, want %s", got, test.want)
		})
	}
}

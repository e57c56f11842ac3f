package channel

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"shipworm/ra/invite"
)

func knockPair(t testing.TB, net *memNet) (helper, user *knock, from, to *memConn) {
	inv := &invite.Invitation{FileSecret: [16]byte{1}}
	from, to = net.listen(t, helperAddr), net.listen(t, userAddr)
	return newKnock(from, inv, toUser, toHelper), newKnock(to, inv, toHelper, toUser), from, to
}

// each bit of body and tag counts, and so do direction and file secret.
func TestKnockDrops(t *testing.T) {
	helper, user, from, to := knockPair(t, newMemNet(0))
	body := bytes.Repeat([]byte{0x40}, 100)
	send := func(k *knock) []byte {
		if _, err := k.WriteTo(body, to.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		return (<-to.inbox).data
	}
	good := send(helper)
	if len(good) != len(body)+tagSize || !bytes.Equal(good[:len(body)], body) {
		t.Fatalf("%x", good)
	}
	accepted := func(b []byte) bool {
		to.inbox <- memDatagram{from.addr, b}
		to.inbox <- memDatagram{from.addr, good}
		before := user.dropped.Load()
		n, _, err := user.ReadFrom(make([]byte, 2000))
		if err != nil || n != len(body) {
			t.Fatalf("%d, %v", n, err)
		}
		if user.dropped.Load() == before {
			<-to.inbox
			return true
		}
		return false
	}
	if !accepted(good) {
		t.Fatal("a good datagram was dropped")
	}
	for i := range len(good) * 8 {
		b := bytes.Clone(good)
		b[i/8] ^= 1 << (i % 8)
		if accepted(b) {
			t.Fatalf("bit %d does not count", i)
		}
	}
	for n := range len(good) {
		if accepted(good[:n]) {
			t.Fatalf("%d bytes were accepted", n)
		}
	}
	if accepted(send(user)) {
		t.Error("a reflected datagram was accepted")
	}
	other := newKnock(from, &invite.Invitation{FileSecret: [16]byte{2}}, toUser, toHelper)
	if accepted(send(other)) {
		t.Error("another file secret was accepted")
	}
	if _, err := helper.WriteTo(make([]byte, packetSize+1), to.LocalAddr()); err == nil {
		t.Error("an oversized datagram was sent")
	}
}

// Errors of a read are loss, unless they do not end.
func TestKnockReadErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		helper, _, _, to := knockPair(t, newMemNet(0))
		broken := &failingReader{memConn: to, left: 3}
		user := newKnock(broken, &invite.Invitation{FileSecret: [16]byte{1}}, toHelper, toUser)
		helper.WriteTo([]byte{0x40, 1, 2}, to.LocalAddr())
		if n, _, err := user.ReadFrom(make([]byte, 1452)); err != nil || n != 3 {
			t.Errorf("%d, %v", n, err)
		}
		broken.left = 1 << 30
		if _, _, err := user.ReadFrom(make([]byte, 1452)); !errors.Is(err, errBroken) {
			t.Errorf("%v", err)
		}
		to.Close()
		broken.left = 0
		if _, _, err := user.ReadFrom(make([]byte, 1452)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v", err)
		}
	})
}

var errBroken = errors.New("connection refused")

type failingReader struct {
	*memConn
	left int
}

func (f *failingReader) ReadFrom(p []byte) (int, net.Addr, error) {
	if f.left > 0 {
		f.left--
		return 0, nil, errBroken
	}
	return f.memConn.ReadFrom(p)
}

//
func TestReplayCache(t *testing.T) {
	var c replayCache
	tag := func(i int) (b [tagSize]byte) {
		b[0], b[1], b[2] = byte(i), byte(i>>8), byte(i>>16)
		return b
	}
	for i := range 3 * replaySize {
		if c.seen(tag(i)) {
			t.Fatalf("%d was never there", i)
		}
		if !c.seen(tag(i)) {
			t.Fatalf("%d is forgotten at once", i)
		}
		if i >= replaySize && !c.seen(tag(i-replaySize+1)) {
			t.Fatalf("%d is forgotten too early", i-replaySize+1)
		}
	}
	if len(c.set) != replaySize || len(c.ring) != replaySize {
		t.Errorf("%d, %d entries", len(c.set), len(c.ring))
	}
}

// quickConn is a socket without a network, for figures about the knock alone.
type quickConn struct {
	net.PacketConn
	data []byte
	addr net.Addr
}

func (q *quickConn) WriteTo(b []byte, _ net.Addr) (int, error) {
	q.data = append(q.data[:0], b...)
	return len(b), nil
}
func (q *quickConn) ReadFrom(p []byte) (int, net.Addr, error) { return copy(p, q.data), q.addr, nil }

func quickKnock() (send, receive *knock, addr net.Addr) {
	inv := &invite.Invitation{FileSecret: [16]byte{1}}
	addr = net.UDPAddrFromAddrPort(netip.MustParseAddrPort(userAddr))
	q := &quickConn{addr: addr}
	return newKnock(q, inv, toUser, toHelper), newKnock(q, inv, toHelper, toUser), addr
}

func TestKnockAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("under the race detector sync.Pool forgets on purpose")
	}
	send, receive, addr := quickKnock()
	body, buf := make([]byte, packetSize), make([]byte, 1452)
	if n := testing.AllocsPerRun(1000, func() {
		send.WriteTo(body, addr)
		receive.ReadFrom(buf)
	}); n > 0.1 { // the pool may be emptied by a collection
		t.Errorf("%v allocations a datagram", n)
	}
}

func BenchmarkKnock(b *testing.B) {
	send, receive, addr := quickKnock()
	body, buf := make([]byte, packetSize), make([]byte, 1452)
	b.Run("send", func(b *testing.B) {
		b.SetBytes(packetSize)
		b.ReportAllocs()
		for b.Loop() {
			send.WriteTo(body, addr)
		}
	})
	b.Run("receive", func(b *testing.B) {
		send.WriteTo(body, addr)
		b.SetBytes(packetSize)
		b.ReportAllocs()
		for b.Loop() {
			receive.ReadFrom(buf)
		}
	})
	b.Run("stranger", func(b *testing.B) {
		junk := make([]byte, packetSize)
		b.SetBytes(packetSize)
		for b.Loop() {
			receive.receive.valid(junk[:packetSize-tagSize], junk[packetSize-tagSize:])
		}
	})
}

// BenchmarkHandshake takes the time from the dial to the authenticated
// connection on both sides, on a link with a round trip of 50 ms.
func BenchmarkHandshake(b *testing.B) {
	var dialled, accepted time.Duration
	for b.Loop() {
		n := newMemNet(25 * time.Millisecond)
		inv, identity := testInvitation(b)
		user, helper := n.listen(b, userAddr), n.listen(b, helperAddr)
		l, err := Listen(user, ListenConfig{Invitation: inv, Password: password, Identity: identity})
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		c, err := Dial(context.Background(), helper, user.addr, DialConfig{Invitation: inv, Password: password})
		if err != nil {
			b.Fatal(err)
		}
		dialled += time.Since(start)
		s, err := l.Accept(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		accepted += time.Since(start)
		b.StopTimer()
		c.close(codeGone, "")
		s.close(codeGone, "")
		l.Close()
		user.Close()
		helper.Close()
		b.StartTimer()
	}
	b.ReportMetric(dialled.Seconds()*1000/float64(b.N), "ms/dial")
	b.ReportMetric(accepted.Seconds()*1000/float64(b.N), "ms/accept")
}

func FuzzKnock(f *testing.F) {
	send, _, addr := quickKnock()
	send.WriteTo(bytes.Repeat([]byte{0xc0}, 50), addr)
	good := bytes.Clone(send.PacketConn.(*quickConn).data)
	f.Add(good)
	f.Add([]byte{})
	f.Add(make([]byte, 16))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		synctest.Test(t, func(t *testing.T) {
			_, user, from, to := knockPair(t, newMemNet(0))
			to.inbox <- memDatagram{from.addr, datagram}
			user.SetReadDeadline(time.Now().Add(time.Second))
			if n, _, err := user.ReadFrom(make([]byte, 1452)); err == nil && !bytes.Equal(datagram, good) {
				t.Fatalf("%d bytes accepted", n)
			}
		})
	})
}

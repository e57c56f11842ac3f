package stack

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// brimful is an endpoint whose buffer is full for so many writes.
type brimful struct {
	tcpip.Endpoint
	full  int
	asked chan struct{} // gets a token for each of those
}

func (e *brimful) Write(p tcpip.Payloader, o tcpip.WriteOptions) (int64, tcpip.Error) {
	if e.full > 0 {
		e.full--
		e.asked <- struct{}{}
		return 0, &tcpip.ErrWouldBlock{}
	}
	n, _ := io.Copy(io.Discard, p)
	return n, nil
}

func fullConn(t *testing.T, writes int) (*PacketConn, *brimful) {
	s := newStack(t, Config{}, addrA)
	pc, err := s.ListenPacket(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	e := &brimful{pc.ep, writes, make(chan struct{}, 2)}
	pc.ep = e
	return pc, e
}

var peerB = &net.UDPAddr{IP: addrB.AsSlice(), Port: 7}

// A buffer that is full once, and empty again before anybody waits for that,
// keeps nobody from writing.
func TestWriteFindsRoom(t *testing.T) {
	pc, _ := fullConn(t, 1)
	pc.SetWriteDeadline(time.Now().Add(20 * time.Second)) // else it would wait for ever
	if n, err := pc.WriteTo([]byte("hello"), peerB); n != 5 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// A writer that waits for room is ended by a deadline, also one that is set
// meanwhile, and by Close.
func TestWriteWaits(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(*PacketConn)
		want error
	}{
		{"deadline", func(p *PacketConn) { p.SetWriteDeadline(time.Now().Add(10 * time.Millisecond)) }, os.ErrDeadlineExceeded},
		{"deadline in the past", func(p *PacketConn) { p.SetDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		{"close", func(p *PacketConn) { p.Close() }, net.ErrClosed},
	} {
		pc, e := fullConn(t, 1<<30)
		ended := make(chan error)
		go func() {
			_, err := pc.WriteTo([]byte("hello"), peerB)
			ended <- err
		}()
		<-e.asked
		<-e.asked // after this it waits
		go func() {
			for range e.asked { // and perhaps looks again
			}
		}()
		tt.end(pc)
		if err := <-ended; !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
		close(e.asked)
	}
}

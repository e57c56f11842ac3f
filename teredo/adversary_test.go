//go:build unix

package teredo

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"shipworm/teredo/engine"
	"shipworm/testnet/adversary"
)

// complaining is a socket of a kernel that reports ICMP errors: the next call
// fails with them, as read and write of a connected UDP socket do on Linux and
// those of any on Windows, and a write that fails has sent nothing.
type complaining struct {
	net.PacketConn
	pending atomic.Value // a pending
	failed  atomic.Int64 // calls
}

type pending struct{ err error }

func (c *complaining) take() error {
	p, _ := c.pending.Swap(pending{}).(pending)
	if p.err != nil {
		c.failed.Add(1)
	}
	return p.err
}

// complain is what an ICMP error does. It wakes a blocked read.
func (c *complaining) complain(err error) {
	c.pending.Store(pending{err})
	_ = c.SetReadDeadline(time.Now())
}

func (c *complaining) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		if err := c.take(); err != nil {
			return 0, nil, &net.OpError{Op: "read", Net: "udp4", Err: err}
		}
		n, from, err := c.PacketConn.ReadFrom(b)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, from, err
		}
		_ = c.SetReadDeadline(time.Time{})
	}
}

func (c *complaining) WriteTo(b []byte, to net.Addr) (int, error) {
	if err := c.take(); err != nil {
		return 0, &net.OpError{Op: "write", Net: "udp4", Err: err}
	}
	return c.PacketConn.WriteTo(b, to)
}

// A storm of forged ICMP errors about every packet of a client, which its
// kernel turns into errors of the socket, ends neither the read loop nor the
// flow, and takes neither address nor peer. L-03, T-33
func TestICMPStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5*time.Millisecond)
		w.server()
		ha, ra := w.home("port-restricted")
		var socket *complaining
		ca, da := w.client(ha, func(c *ClientConfig) {
			listen := c.Listen
			c.Listen = func(ctx context.Context, local netip.AddrPort) (net.PacketConn, error) {
				pc, err := listen(ctx, local)
				socket = &complaining{PacketConn: pc}
				return socket, err
			}
		})
		hb, _ := w.home("port-restricted")
		cb, db := w.client(hb, nil)
		a, b := mustQualify(t, ca), mustQualify(t, cb)
		da.toTunnel <- udp6(a.Addr(), b.Addr(), "open the NATs")
		<-db.fromIt

		liar := &adversary.ICMPLiar{}
		w.w.Do(func() {
			ha.Receive = func(_ time.Time, pkt []byte) {
				err := error(syscall.ECONNREFUSED)
				if pkt[20] == 3 && pkt[21] == 4 {
					err = syscall.EMSGSIZE
				}
				socket.complain(err)
			}
			liar.Attach(ra)
		})
		const sent = 300
		there := 0
		for range sent {
			db.toTunnel <- udp6(b.Addr(), a.Addr(), "answer")
			select { // a write that fails is a packet lost; what the peer sends is not
			case <-da.fromIt:
			case <-time.After(10 * time.Second):
				t.Fatal("the read loop has ended")
			}
			da.toTunnel <- udp6(a.Addr(), b.Addr(), "data")
			time.Sleep(time.Second)
			for len(db.fromIt) > 0 {
				<-db.fromIt
				there++
			}
		}
		if s := ca.State(); s.State != engine.Ready || s.Address != a || s.PeersTrusted != 1 {
			t.Errorf("state %+v", s)
		}
		if there < sent/10 {
			t.Errorf("%d of %d packets arrived", there, sent)
		}
		t.Logf("%d of %d packets sent, %d calls failed", there, sent, socket.failed.Load())
		if n := socket.failed.Load(); n < sent/2 {
			t.Errorf("only %d calls failed", n)
		}
		w.w.Do(func() {
			if liar.Stats().Sent < sent*20 {
				t.Errorf("%+v", liar.Stats())
			}
		})
	})
}

package matrix_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"shipworm/testnet/matrix"
)

// call is a method of blocking code: A sends B's public address a byte until it
// comes back.
type call struct {
	err    error
	silent bool // never ready
}

func (call) Name() string           { return "call" }
func (call) Title() string          { return "A call" }
func (call) Describe([]byte) string { return "byte" }

func (m call) Try(ctx context.Context, s *matrix.Stage, ready func()) error {
	if m.silent {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	ready()
	if m.err != nil {
		return m.err
	}
	b, err := s.B.ListenPacket(netip.AddrPortFrom(s.B.Addr(), 7))
	if err != nil {
		return err
	}
	defer b.Close()
	a, err := s.A.ListenPacket(netip.AddrPortFrom(s.A.Addr(), 7))
	if err != nil {
		return err
	}
	defer a.Close()
	defer context.AfterFunc(ctx, func() { _ = a.SetDeadline(time.Now()) })()
	go func() {
		buf := make([]byte, 1)
		if _, from, err := b.ReadFrom(buf); err == nil {
			_, _ = b.WriteTo(buf, from)
		}
	}()
	if _, err := a.WriteTo([]byte{1}, net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.B.Addr(), 7))); err != nil {
		return err
	}
	_, _, err = a.ReadFrom(make([]byte, 1))
	return err
}

// TestBlocking: blocking code has outcome, time, packets and reason as machines
// do. The bubble's clock is virtual.
func TestBlocking(t *testing.T) {
	for name, test := range map[string]struct {
		method  call
		nat     string
		outcome matrix.Outcome
		took    time.Duration
		packets int
	}{
		"connects":    {call{}, "none", matrix.Connected, 50 * time.Millisecond, 2},
		"is filtered": {call{}, "firewall", matrix.Failed, 0, 1},
		"gives up":    {call{err: errors.New("no")}, "none", matrix.Failed, 0, 0},
		"not ready":   {call{silent: true}, "none", matrix.Unready, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := run(t, matrix.Config{Method: test.method, NATs: []string{test.nat}})
				c := table.Cells[0]
				if c.Outcome != test.outcome || c.Time != test.took || c.Packets != test.packets {
					t.Errorf("%s, %v, %d packets; want %s, %v, %d", c.Outcome, c.Time, c.Packets, test.outcome, test.took, test.packets)
				}
				if (c.Outcome == matrix.Connected) != (c.Reason == "") {
					t.Errorf("reason %q", c.Reason)
				}
			})
		})
	}
}

// TestBlockingCancelled: the end of the caller's context is an error.
func TestBlockingCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := matrix.Run(ctx, matrix.Config{Method: call{silent: true}, NATs: []string{"none"}})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

package teredo

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"shipworm/teredo/wire"
)

// gated runs a client whose host's native IPv6 the test switches, and returns
// what its Run ends with.
func gated(w *world, native *atomic.Bool, change func(*ClientConfig)) (c *Client, d *memory, sent func() int, ended chan error) {
	w.server()
	h, _ := w.home("port-restricted")
	d = newMemory()
	cfg := ClientConfig{Server: primary.String(), Listen: listenOn(h), Device: d, Native: native.Load}
	if change != nil {
		change(&cfg)
	}
	c, err := NewClient(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	ended = make(chan error, 1)
	w.start(func(ctx context.Context) error { ended <- c.Run(ctx); return nil })
	return c, d, func() int { return w.sentBy(h) }, ended
}

// T-28: where native IPv6 works a client sends nothing and ends, unless forced;
// where native IPv6 appears later it ends then.
func TestNative(t *testing.T) {
	var native atomic.Bool
	t.Run("at first", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			native.Store(true)
			c, _, sent, ended := gated(newWorld(t, time.Millisecond), &native, nil)
			if err := <-ended; !errors.Is(err, ErrNative) {
				t.Errorf("ended with %v", err)
			}
			if _, err := c.WaitQualified(t.Context()); err == nil || sent() != 0 {
				t.Errorf("%d packets sent, %v", sent(), err)
			}
		})
	})
	t.Run("later", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			native.Store(false)
			c, _, sent, ended := gated(newWorld(t, time.Millisecond), &native, nil)
			if _, err := c.WaitQualified(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			native.Store(true)
			begin, before := time.Now(), sent()
			if err := <-ended; !errors.Is(err, ErrNative) || time.Since(begin) > 10*time.Second {
				t.Errorf("ended with %v after %v", err, time.Since(begin))
			}
			before = max(before, sent())
			time.Sleep(time.Minute)
			if n := sent(); n != before {
				t.Errorf("%d packets sent after the end", n-before)
			}
		})
	})
	t.Run("forced", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			native.Store(true)
			c, _, _, ended := gated(newWorld(t, time.Millisecond), &native, func(c *ClientConfig) { c.Force = true })
			if _, err := c.WaitQualified(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			select {
			case err := <-ended:
				t.Errorf("ended with %v", err)
			default:
			}
		})
	})
}

// T-28: on demand, a client is down at most 60 s after its last use, and never
// while it is used.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var native atomic.Bool
		c, d, _, ended := gated(newWorld(t, time.Millisecond), &native, func(c *ClientConfig) { c.Idle = time.Minute })
		a, err := c.WaitQualified(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		peer := wire.AddressFrom(primary, 0, netip.MustParseAddrPort("198.51.100.77:40000"))
		for range 10 {
			d.toTunnel <- udp6(a.Addr(), peer.Addr(), "still here")
			time.Sleep(40 * time.Second)
		}
		used := time.Now().Add(-40 * time.Second)
		err = <-ended
		if down := time.Since(used); !errors.Is(err, ErrIdle) || down > time.Minute || down < 50*time.Second {
			t.Errorf("ended with %v %v after the last use", err, down)
		}
	})
}

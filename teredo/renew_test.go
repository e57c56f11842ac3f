package teredo

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
)

// lowPorts is a host behind a NAT that gives out ports one after the other, from
// first on: no peer sends to those below 1024.
func (w *world) lowPorts(first uint16) (h *sim.Host) {
	w.t.Helper()
	cfg := nat.Config{
		External:  []netip.Addr{netip.MustParseAddr("198.51.100.200")},
		Filtering: nat.AddressAndPortDependent, Allocation: nat.Sequential, PortMin: first, PortMax: 65535,
	}
	var err error
	w.w.Do(func() {
		var r *sim.Router
		if r, err = w.w.Router("low ports", cfg, w.line); err == nil {
			h, err = r.Host("unlucky", link.Config{}, netip.MustParseAddr("192.168.1.2"))
		}
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

// A NAT that shows the service port as one that no peer sends to is given
// another port to show: twice at once, then once a minute. Peers then reach the
// client there. T-02
func TestPortRefused(t *testing.T) {
	for _, test := range []struct {
		name  string
		first uint16
		most  time.Duration // until there is an address
	}{
		{"one", 1023, time.Second},
		{"two", 1022, 2 * time.Second},
		{"four", 1020, 3 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 10*time.Millisecond)
				w.server()
				h := w.lowPorts(test.first)
				opened := map[uint16]int{}
				begin := time.Now()
				ca, _ := w.client(h, func(c *ClientConfig) {
					c.Listen = func(ctx context.Context, local netip.AddrPort) (net.PacketConn, error) {
						opened[local.Port()]++
						return listenOn(h)(ctx, local)
					}
				})
				for !ca.State().Address.IsValid() && time.Since(begin) < time.Hour {
					time.Sleep(10 * time.Millisecond)
				}
				a := ca.State().Address
				if took := time.Since(begin); took > test.most || a.Mapped().Port() != 1024 {
					t.Fatalf("at %v after %v, promised %v", a.Mapped(), took, test.most)
				}
				if want := int(1024 - test.first + 1); len(opened) != want {
					t.Errorf("opened ports %v, want %d", opened, want)
				}
				if s := ca.State(); s.Local.Port() != 0 && opened[s.Local.Port()] != 1 {
					t.Errorf("the state names %v as the local port", s.Local)
				}
				hb, _ := w.home("port-restricted")
				cb, db := w.client(hb, nil)
				b := mustQualify(t, cb)
				db.toTunnel <- udp6(b.Addr(), a.Addr(), "here")
				time.Sleep(time.Second)
				if p, _ := cb.Peer(a.Addr()); !p.Up {
					t.Errorf("not reached: %+v", p)
				}
			})
		})
	}
}

// A port that was configured is kept, and the reason told.
func TestConfiguredPortRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10*time.Millisecond)
		w.server()
		opened := 0
		h := w.lowPorts(1023)
		c, _ := w.client(h, func(c *ClientConfig) {
			c.Port = 50000
			c.Listen = func(ctx context.Context, local netip.AddrPort) (net.PacketConn, error) {
				opened++
				return listenOn(h)(ctx, local)
			}
		})
		_, err := wait(t, c, 30*time.Second)
		if q := new(QualifyError); !errors.As(err, &q) || !errors.Is(err, ErrPortRefused) || opened != 1 {
			t.Errorf("%v after %d ports", err, opened)
		}
	})
}

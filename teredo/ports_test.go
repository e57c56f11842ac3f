package teredo

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"shipworm/teredo/engine"
	"shipworm/testnet/nat"
)

// Behind a sequential NAT the driver opens ports of their own for peers, and
// closes them when it ends. RFC 6081, 3.4
func TestExtraPorts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10*time.Millisecond)
		w.server()
		ha, _ := w.home("symmetric-sequential")
		both := func(c *ClientConfig) { c.Secondary = secondary.String() }
		ca, da := w.client(ha, both)
		hb, _ := w.home("port-restricted")
		cb, db := w.client(hb, both)
		a, b := mustQualify(t, ca), mustQualify(t, cb)
		da.toTunnel <- udp6(a.Addr(), b.Addr(), "over")
		if got := string((<-db.fromIt)[48:]); got != "over" {
			t.Errorf("got %q", got)
		}
		db.toTunnel <- udp6(b.Addr(), a.Addr(), "and back")
		if got := string((<-da.fromIt)[48:]); got != "and back" {
			t.Errorf("got %q", got)
		}
		if p, ok := cb.Peer(a.Addr()); !ok || !p.Up || p.Endpoint == a.Mapped() {
			t.Errorf("peer %+v: its address does not hold where it is", p)
		}
	})
}

// The configuration's Map is given the local port, and what it tells lets peers
// behind any NAT in. RFC 6081, 3.2
func TestMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10*time.Millisecond)
		w.server()
		ha, ra := w.home("upnp-symmetric")
		asked := make(chan netip.AddrPort, 1)
		ca, da := w.client(ha, func(c *ClientConfig) {
			c.Secondary = secondary.String()
			c.Map = func(ctx context.Context, local netip.AddrPort, changed func(netip.AddrPort)) error {
				asked <- local
				external := netip.AddrPortFrom(ra.NAT().Config().External[0], 40000)
				var err error
				w.w.Do(func() {
					err = ra.NAT().AddForward(nat.PortForward{Protocol: 17, External: external, Internal: netip.AddrPortFrom(ha.Addr(), local.Port())})
				})
				if err != nil {
					return err
				}
				changed(external)
				<-ctx.Done()
				return nil
			}
		})
		hb, _ := w.home("symmetric")
		cb, db := w.client(hb, func(c *ClientConfig) { c.Secondary = secondary.String() })
		a, b := mustQualify(t, ca), mustQualify(t, cb)
		if local := <-asked; local.Port() == 0 {
			t.Errorf("asked for a forward to %v", local)
		}
		time.Sleep(time.Second)
		db.toTunnel <- udp6(b.Addr(), a.Addr(), "in")
		if got := string((<-da.fromIt)[48:]); got != "in" {
			t.Errorf("got %q", got)
		}
	})
}

// Where no port forward is to be had the client goes on without. RFC 6081, 5.3.3
func TestMapFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10*time.Millisecond)
		w.server()
		h, _ := w.home("port-restricted")
		c, _ := w.client(h, func(c *ClientConfig) {
			c.Map = func(context.Context, netip.AddrPort, func(netip.AddrPort)) error {
				return errors.New("no router answers")
			}
		})
		mustQualify(t, c)
		time.Sleep(time.Hour)
		if s := c.State(); s.ClientState.State != engine.Ready || s.Forward.IsValid() {
			t.Errorf("%v, forward %v", s.ClientState.State, s.Forward)
		}
	})
}

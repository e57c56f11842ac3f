package upnp

import (
	"context"
	"net/netip"
	"testing"
	"time"
)

// A router that speaks PCP without ANNOUNCE speaks PCP.
func TestShowWithoutAnnounce(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
		start(t, ctx, l, "pcp-no-announce")
		o, err := newTestMapper(t, l, nil).Show(ctx)
		if err != nil || o.Services[0].Err != nil || o.Services[1].Err == nil {
			t.Errorf("%v: %+v", err, o.Services)
		}
	})
}

// Who has no more time does not wait for a silent router's answer.
func TestExternalInTime(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
		defer l.listenPacket(netip.AddrPortFrom(gatewayAddr, 5351)).Close()
		within, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		begin := time.Now()
		if ip, err := newTestMapper(t, l, nil).External(within, hostAddr); err == nil || time.Since(begin) > 300*time.Millisecond {
			t.Errorf("%v, %v after %v", ip, err, time.Since(begin))
		}
	})
}

// A deletion beside the page of a question that was silent waits for that router
// no longer than a second.
func TestSweepOfSilence(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
		start(t, ctx, l, "upnp-only")
		defer l.listenPacket(netip.AddrPortFrom(gatewayAddr, 5351)).Close()
		dir := t.TempDir()
		m := newTestMapper(t, l, func(c *Config) { c.Journal = dir })
		if got, err := m.Add(ctx, udpRequest()); err != nil || got.Via != ViaUPnP {
			t.Fatalf("%v: %+v", err, got)
		}
		left, err := m.journal.Orphans()
		for _, r := range left {
			r.Close()
		}
		if err != nil || len(left) != 1 {
			t.Fatalf("%v: %d pages: nothing is tested", err, len(left))
		}
		begin := time.Now()
		if _, err := m.Sweep(ctx); err != nil || time.Since(begin) > dropTime {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		if left, err := m.journal.Orphans(); err != nil || len(left) != 0 {
			t.Errorf("%v: %d pages are left", err, len(left))
		}
	})
}

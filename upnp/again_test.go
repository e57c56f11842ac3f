package upnp

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"shipworm/testnet/igd"
)

// U-09: a mapping that was lost and got again within one Keep leaves one page in
// the journal, and none at the end.
func TestAcquiredAgain(t *testing.T) {
	for _, profile := range []string{"pcp-only", "natpmp-only", "upnp-only", "permanent-only", "miniupnpd", "no-replace"} {
		t.Run(profile, func(t *testing.T) {
			bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
				dir := t.TempDir()
				k := keep(ctx, newTestMapper(t, l, func(c *Config) { c.Journal = dir }), udpRequest())
				for range 3 {
					on, off := context.WithCancel(ctx)
					start(t, on, l, profile)
					if got, _ := k.next(t, time.Minute); !got.IsValid() {
						t.Fatalf("%+v", got)
					}
					time.Sleep(10 * time.Second)
					synctest.Wait()
					if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
						t.Errorf("%v: %v", err, files)
					}
					off()
					if got, _ := k.next(t, 2*time.Minute); got.IsValid() {
						t.Fatalf("%+v", got)
					}
				}
				r := start(t, ctx, l, profile)
				k.next(t, time.Minute)
				time.Sleep(10 * time.Second)
				k.end()
				if all := r.Mappings(time.Now()); len(all) != 0 {
					t.Errorf("left %v", all)
				}
				if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
					t.Errorf("%v: left %v", err, files)
				}
			})
		})
	}
}

// U-07, U-10: who finds that another host has its port takes another one, tells
// so, and asks for no port that nobody wished.
func TestTakenAway(t *testing.T) {
	for _, profile := range []string{"upnp-only", "igd1", "permanent-only", "overwrites"} {
		t.Run(profile, func(t *testing.T) {
			bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
				r := start(t, ctx, l, profile)
				k := keep(ctx, newTestMapper(t, l, func(c *Config) { c.Journal = t.TempDir() }), udpRequest())
				k.next(t, time.Second)
				time.Sleep(time.Minute)
				r.server.Reboot()
				theirs := igd.Mapping{
					By: igd.SOAP, Protocol: 17, External: netip.AddrPortFrom(wanAddr, 3545),
					Internal: netip.MustParseAddrPort("192.168.1.9:3545"), Description: "theirs",
				}
				if err := r.Add(time.Now(), theirs); err != nil {
					t.Fatal(err)
				}
				lost, _ := k.next(t, 10*time.Second)
				got, took := k.next(t, 10*time.Second)
				if lost.IsValid() || !got.IsValid() || got.External.Port() < 49152 || took > 100*time.Millisecond {
					t.Errorf("%+v, then %+v after %v", lost, got, took)
				}
				for _, q := range r.mapRequests() {
					if q.External < 1024 {
						t.Errorf("asked for %+v", q)
					}
				}
				k.end()
				if all := r.Mappings(time.Now()); len(all) != 1 || all[0].Internal != theirs.Internal {
					t.Errorf("left %v", all)
				}
			})
		})
	}
}

// U-09: what a restart of the router has removed leaves the journal, whatever the
// router says of it.
func TestSweepAfterRestart(t *testing.T) {
	for _, profile := range []string{"pcp-only", "natpmp-only", "upnp-only", "permanent-only", "miniupnpd"} {
		bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
			r := start(t, ctx, l, profile)
			dir := t.TempDir()
			m := newTestMapper(t, l, func(c *Config) { c.Journal = dir })
			leave(t, ctx, m)
			r.server.Reboot()
			if _, err := m.Sweep(ctx); err != nil {
				t.Errorf("%s: %v", profile, err)
			}
			if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
				t.Errorf("%s: %v: left %v", profile, err, files)
			}
		})
	}
}

// Delete closes what a killed process left open, and says so.
func TestDeleteLeft(t *testing.T) {
	for _, profile := range []string{"pcp-only", "natpmp-only", "upnp-only", "miniupnpd"} {
		bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
			r := start(t, ctx, l, profile)
			m := newTestMapper(t, l, func(c *Config) { c.Journal = t.TempDir() })
			leave(t, ctx, m)
			if err := m.Delete(ctx, UDP, 3545); err != nil || len(r.Mappings(time.Now())) != 0 {
				t.Errorf("%s: %v: left %v", profile, err, r.Mappings(time.Now()))
			}
			if err := m.Delete(ctx, UDP, 3545); !errors.Is(err, ErrNoMapping) {
				t.Errorf("%s: %v", profile, err)
			}
		})
	}
}

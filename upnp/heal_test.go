package upnp

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"shipworm/testnet/igd"
	"shipworm/upnp/pcp"
)

// U-15: a router that was restarted and says so has the mapping back within a
// second, also when its web server has moved; one that does not say so, within
// ten.
func TestHealing(t *testing.T) {
	tests := []struct {
		profile string
		within  time.Duration
	}{
		{"pcp-only", time.Second},
		{"natpmp-only", time.Second},
		{"upnp-only", time.Second},
		{"port-moves", time.Second},
		{"miniupnpd", time.Second},
		{"silent-restart", 10 * time.Second},
		{"pcp-no-announce", 10 * time.Second},
		{"silent-restart-natpmp", 10 * time.Second},
		{"silent-restart-upnp", 10 * time.Second},
		{"silent-restart-upnp-1.0", 10 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.profile, func(t *testing.T) {
			bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
				r := start(t, ctx, l, tt.profile)
				k := keep(ctx, newTestMapper(t, l, nil), udpRequest())
				k.next(t, time.Second)
				for range 3 { // more than once
					time.Sleep(90 * time.Second)
					if err := r.server.Reboot(); err != nil {
						t.Fatal(err)
					}
					if all := r.Mappings(time.Now()); len(all) != 0 {
						t.Fatalf("a reboot left %v", all)
					}
					time.Sleep(tt.within)
					synctest.Wait() // it may be the same instant
					if all := r.Mappings(time.Now()); len(all) != 1 || all[0].External.Port() != 3545 {
						t.Errorf("after %v: %v", tt.within, all)
					}
				}
				k.end()
				if len(k.told) != 0 {
					t.Errorf("told %+v", <-k.told)
				}
			})
		})
	}
}

// U-15: a router that was away and does not say that it is back has the mapping
// again within ten seconds.
func TestSilentReturn(t *testing.T) {
	for _, profile := range []string{"silent-restart", "silent-restart-natpmp", "silent-restart-upnp", "silent-restart-upnp-1.0"} {
		for _, away := range []time.Duration{3 * time.Second, 20 * time.Second, 95 * time.Second, 5 * time.Minute} {
			bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
				inner, off := context.WithCancel(ctx)
				start(t, inner, l, profile)
				k := keep(ctx, newTestMapper(t, l, nil), udpRequest())
				k.next(t, time.Second)
				time.Sleep(time.Minute)
				off()
				time.Sleep(away)
				r := start(t, ctx, l, profile)
				time.Sleep(10 * time.Second)
				synctest.Wait() // it may be the same instant
				if all := r.Mappings(time.Now()); len(all) != 1 || all[0].Internal.Port() != 3545 {
					t.Errorf("%s, away for %v: %v", profile, away, all)
				}
				k.end()
			})
		}
	}
}

// What it costs an hour to watch a router that is never restarted: questions,
// and connections for UPnP, which take about ten packets each.
func TestWatchCost(t *testing.T) {
	for _, tt := range []struct {
		profile                     string
		questions, connect, renewed int
	}{
		{"pcp-only", 452, 0, 2},
		{"pcp-no-announce", 452, 0, 2},
		{"natpmp-only", 452, 0, 2},
		{"upnp-only", 395, 125, 2},
		{"silent-restart-upnp-1.0", 0, 515, 2},
	} {
		bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
			r := start(t, ctx, l, tt.profile)
			time.Sleep(10 * time.Minute) // its announcements are over
			k := keep(ctx, newTestMapper(t, l, nil), udpRequest())
			k.next(t, time.Second)
			count := func() (sent, dialed, mapped int) {
				l.mu.Lock()
				defer l.mu.Unlock()
				return len(l.sent), len(l.dialed), len(r.mapRequests())
			}
			sent, dialed, mapped := count()
			time.Sleep(time.Hour)
			sent2, dialed2, mapped2 := count()
			t.Logf("%s: %d questions, %d connections", tt.profile, sent2-sent, dialed2-dialed)
			if sent2-sent > tt.questions || dialed2-dialed > tt.connect || mapped2-mapped > tt.renewed {
				t.Errorf("%s: %d requests for the mapping; want at most %+v", tt.profile, mapped2-mapped, tt)
			}
			k.end()
		})
	}
}

// U-15: another address of ours or another router is noticed within ten
// seconds, and told.
func TestLinkChange(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
		start(t, ctx, l, "pcp-only")
		k := keep(ctx, newTestMapper(t, l, nil), udpRequest())
		k.next(t, time.Second)
		other := netip.MustParseAddr("192.168.1.254")
		r := startAt(t, ctx, l, "pcp-only", other)
		l.mu.Lock()
		l.gateway.Addr = other
		l.mu.Unlock()
		lost, _ := k.next(t, 10*time.Second)
		got, _ := k.next(t, 10*time.Second)
		if lost.IsValid() || got.Gateway != other || len(r.Mappings(time.Now())) != 1 {
			t.Errorf("%+v, then %+v", lost, got)
		}
		k.end()
	})
}

// A router that falls silent loses the mapping in the caller's eyes, and gets it
// back when it speaks again.
func TestOutage(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
		inner, off := context.WithCancel(ctx)
		start(t, inner, l, "pcp-only")
		k := keep(ctx, newTestMapper(t, l, nil), udpRequest())
		k.next(t, time.Second)
		off()
		if lost, took := k.next(t, 5*time.Minute); lost.IsValid() || took > 2*time.Minute {
			t.Errorf("%+v after %v", lost, took)
		}
		time.Sleep(time.Minute)
		start(t, ctx, l, "pcp-only") // announces itself
		if got, took := k.next(t, time.Minute); !got.IsValid() || took > time.Second {
			t.Errorf("%+v after %v", got, took)
		}
		k.end()
	})
}

// A network whose router opens no ports is not asked more often for having come
// from one that did.
func TestNewNetworkWithoutRouter(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
		start(t, ctx, l, "pcp-only")
		k := keep(ctx, newTestMapper(t, l, nil), udpRequest())
		k.next(t, time.Second)
		l.mu.Lock()
		l.gateway.Addr = netip.MustParseAddr("192.168.1.254")
		before := len(l.sent)
		l.mu.Unlock()
		time.Sleep(10 * time.Minute)
		l.mu.Lock()
		n := len(l.sent) - before
		l.mu.Unlock()
		if n == 0 || n > 600 { // ten attempts
			t.Errorf("%d packets in ten minutes", n)
		}
		k.end()
	})
}

// A router that could not be reached for a while, and still has the mapping,
// gives it to the one who can show the nonce.
func TestUnreachable(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
		r := start(t, ctx, l, "pcp-only")
		k := keep(ctx, newTestMapper(t, l, nil), udpRequest())
		k.next(t, time.Second)
		l.cut(true)
		if lost, _ := k.next(t, time.Minute); lost.IsValid() {
			t.Fatalf("%+v", lost)
		}
		l.cut(false)
		if got, _ := k.next(t, 10*time.Second); got.External != netip.AddrPortFrom(wanAddr, 3545) || len(r.Mappings(time.Now())) != 1 {
			t.Errorf("%+v, table %v", got, r.Mappings(time.Now()))
		}
		k.end()
		if all := r.Mappings(time.Now()); len(all) != 0 {
			t.Errorf("left %v", all)
		}
	})
}

// U-12: forged announcements cost the router a question in five seconds, and
// those of anybody else nothing.
func TestAnnouncementFlood(t *testing.T) {
	for _, tt := range []struct {
		from netip.Addr
		most int
	}{{gatewayAddr, 13}, {netip.MustParseAddr("192.168.1.66"), 0}} {
		bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
			r := start(t, ctx, l, "pcp-only")
			k := keep(ctx, newTestMapper(t, l, nil), udpRequest())
			k.next(t, time.Second)
			time.Sleep(3 * time.Minute) // the router's own announcements are over
			synctest.Wait()             // it may be the same instant
			before := len(r.mapRequests())
			forged := pcp.Response{Op: pcp.Announce, Epoch: 1}
			for range 6000 {
				l.send(netip.AddrPortFrom(tt.from, 5351), igd.ControlGroup, forged.Append(nil))
				time.Sleep(10 * time.Millisecond)
			}
			if n := len(r.mapRequests()) - before; n > tt.most || tt.most > 1 && n < 10 {
				t.Errorf("%d questions in a minute of announcements from %v, want at most %d", n, tt.from, tt.most)
			}
			k.end()
		})
	}
}

// The mapping of the protocol that comes second is given back.
func TestLoserGivesBack(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
		slow := start(t, ctx, l, "slow") // answers after 1.5 s
		beside := startAt(t, ctx, l, "upnp-only", netip.MustParseAddr("192.168.1.50"))
		k := keep(ctx, newTestMapper(t, l, nil), udpRequest())
		got, took := k.next(t, 3*time.Second)
		if got.Via != ViaUPnP || took > 1100*time.Millisecond {
			t.Fatalf("%+v after %v", got, took)
		}
		if len(slow.mapRequests()) == 0 {
			t.Fatal("the slow router was not asked: nothing is tested")
		}
		time.Sleep(4 * time.Second)
		synctest.Wait() // it may be the same instant
		if a, b := slow.Mappings(time.Now()), beside.Mappings(time.Now()); len(a) != 0 || len(b) != 1 {
			t.Errorf("the loser has %v, the winner %v", a, b)
		}
		k.end()
	})
}

// leave makes a mapping and forgets it, as a killed process does.
func leave(t *testing.T, ctx context.Context, m *Mapper) Mapping {
	t.Helper()
	return leaveAt(t, ctx, m, 3545)
}

func leaveAt(t *testing.T, ctx context.Context, m *Mapper, external uint16) Mapping {
	t.Helper()
	g, err := m.gateway(netip.IPv4Unspecified())
	if err != nil {
		t.Fatal(err)
	}
	r := udpRequest()
	r.Lifetime = time.Hour
	w := m.want(g, r, pcp.Nonce{1})
	var late sync.WaitGroup
	a, got, err := w.attempt(ctx, netip.AddrPortFrom(netip.Addr{}, external), &late, func() {})
	late.Wait()
	if err != nil {
		t.Fatal(err)
	}
	a.abandon()
	return got
}

// U-09: what a killed process left is removed at the next start, within five
// seconds.
func TestSweep(t *testing.T) {
	for _, profile := range []string{"pcp-only", "natpmp-only", "upnp-only", "permanent-only", "miniupnpd"} {
		t.Run(profile, func(t *testing.T) {
			bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
				r := start(t, ctx, l, profile)
				dir := t.TempDir()
				leave(t, ctx, newTestMapper(t, l, func(c *Config) { c.Journal = dir }))
				if len(r.Mappings(time.Now())) != 1 {
					t.Fatal("nothing was left: nothing is tested")
				}
				m := newTestMapper(t, l, func(c *Config) { c.Journal = dir })
				q := udpRequest()
				q.Internal = netip.AddrPortFrom(q.Internal.Addr(), 4711)
				k := keep(ctx, m, q)
				k.next(t, 5*time.Second)
				time.Sleep(5 * time.Second)
				synctest.Wait() // it may be the same instant
				if all := r.Mappings(time.Now()); len(all) != 1 || all[0].Internal.Port() != 4711 {
					t.Errorf("table %v", all)
				}
				k.end()
				if n, err := m.Sweep(ctx); n != 0 || err != nil {
					t.Errorf("swept %d more, %v", n, err)
				}
			})
		})
	}
}

// U-09: a program that was killed and starts again with the same port has its
// mapping back at once, also from a router that wants to see the nonce of the
// one it has, and the sweep does not take it away.
func TestSamePortAgain(t *testing.T) {
	for _, profile := range []string{"pcp-only", "natpmp-only", "upnp-only", "permanent-only", "miniupnpd", "no-replace"} {
		t.Run(profile, func(t *testing.T) {
			bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
				r := start(t, ctx, l, profile)
				dir := t.TempDir()
				leave(t, ctx, newTestMapper(t, l, func(c *Config) { c.Journal = dir }))
				k := keep(ctx, newTestMapper(t, l, func(c *Config) { c.Journal = dir }), udpRequest())
				if got, _ := k.next(t, time.Second); got.External != netip.AddrPortFrom(wanAddr, 3545) {
					t.Errorf("%+v", got)
				}
				time.Sleep(5 * time.Second)
				synctest.Wait() // it may be the same instant
				if all := r.Mappings(time.Now()); len(all) != 1 || all[0].Internal.Port() != 3545 {
					t.Errorf("table %v", all)
				}
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

// U-09: by UPnP a port can have several mappings; what is left of another one
// goes.
func TestOtherExternalLeft(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
		r := start(t, ctx, l, "permanent-only")
		dir := t.TempDir()
		leaveAt(t, ctx, newTestMapper(t, l, func(c *Config) { c.Journal = dir }), 4999)
		k := keep(ctx, newTestMapper(t, l, func(c *Config) { c.Journal = dir }), udpRequest())
		k.next(t, time.Second)
		time.Sleep(5 * time.Second)
		synctest.Wait() // it may be the same instant
		if all := r.Mappings(time.Now()); len(all) != 1 || all[0].External.Port() != 3545 {
			t.Errorf("table %v", all)
		}
		k.end()
	})
}

// U-09: no router is asked about what was opened at another, and the page waits
// until that is there again.
func TestSweepElsewhere(t *testing.T) {
	for _, profile := range []string{"upnp-only", "natpmp-only"} {
		t.Run(profile, func(t *testing.T) {
			bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
				on, off := context.WithCancel(ctx)
				home := start(t, on, l, "permanent-only")
				dir := t.TempDir()
				leave(t, ctx, newTestMapper(t, l, func(c *Config) { c.Journal = dir }))
				off()
				synctest.Wait()
				other := netip.MustParseAddr("192.168.1.254")
				startAt(t, ctx, l, profile, other)
				l.mu.Lock()
				l.gateway.Addr = other
				l.mu.Unlock()
				m := newTestMapper(t, l, func(c *Config) { c.Journal = dir })
				if n, err := m.Sweep(ctx); n != 0 || err != nil {
					t.Errorf("swept %d, %v", n, err)
				}
				if err := m.Delete(ctx, UDP, 3545); err == nil {
					t.Error("deleted elsewhere")
				}
				if all, _ := m.List(ctx); len(all) != 0 {
					t.Errorf("listed %v", all)
				}
				if files, _ := os.ReadDir(dir); len(files) != 1 || len(home.Mappings(time.Now())) != 1 {
					t.Errorf("pages %v, at home %v", files, home.Mappings(time.Now()))
				}
			})
		})
	}
}

// U-09, U-10: a left-over whose port has become another's is not removed.
func TestSweepChecks(t *testing.T) {
	changes := map[string]func(*igd.Mapping){
		"another client":      func(m *igd.Mapping) { m.Internal = netip.MustParseAddrPort("192.168.1.9:3545") },
		"another port":        func(m *igd.Mapping) { m.Internal = netip.AddrPortFrom(hostAddr, 3546) },
		"another description": func(m *igd.Mapping) { m.Description = "shipworm aaaaaaaaaa" },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
				r := start(t, ctx, l, "permanent-only")
				dir := t.TempDir()
				leave(t, ctx, newTestMapper(t, l, func(c *Config) { c.Journal = dir }))
				m := r.Mappings(time.Now())[0]
				r.server.Reboot()
				change(&m)
				if err := r.Add(time.Now(), m); err != nil {
					t.Fatal(err)
				}
				next := newTestMapper(t, l, func(c *Config) { c.Journal = dir })
				if n, err := next.Sweep(ctx); n != 0 || err != nil {
					t.Errorf("swept %d, %v", n, err)
				}
				if len(r.Mappings(time.Now())) != 1 {
					t.Error("removed what was not ours")
				}
			})
		})
	}
}

// U-09: Keep ends within two seconds whatever the router does, and at once when
// it answers.
func TestEnd(t *testing.T) {
	for _, profile := range []string{"miniupnpd", "upnp-only", "slow", "black-hole", "control-black-hole", "endless", "none"} {
		for _, after := range []time.Duration{0, 10 * time.Millisecond, 120 * time.Millisecond, time.Second, 5 * time.Second} {
			bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
				r := start(t, ctx, l, profile)
				k := keep(ctx, newTestMapper(t, l, nil), udpRequest())
				time.Sleep(after)
				begin := time.Now()
				if err := k.end(); err != nil {
					t.Error(err)
				}
				if took := time.Since(begin); took > 2*time.Second {
					t.Errorf("%s, ended after %v: took %v", profile, after, took)
				}
				if all := r.Mappings(time.Now()); len(all) != 0 && profile != "slow" {
					t.Errorf("%s, ended after %v: left %v", profile, after, all)
				}
			})
		}
	}
}

// The gateway that is gone for a while is no reason to give up.
func TestNoGateway(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
		start(t, ctx, l, "pcp-only")
		m := newTestMapper(t, l, nil)
		l.gone = true
		if _, err := m.Add(ctx, udpRequest()); !errors.Is(err, ErrNoGateway) {
			t.Error(err)
		}
		k := keep(ctx, m, udpRequest())
		time.Sleep(time.Minute)
		l.mu.Lock()
		l.gone = false
		l.mu.Unlock()
		if got, took := k.next(t, time.Minute); !got.IsValid() || took > 10*time.Second {
			t.Errorf("%+v after %v", got, took)
		}
		k.end()
	})
}

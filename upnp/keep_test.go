package upnp

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"shipworm/testnet/igd"
	"shipworm/upnp/journal"
)

// U-07, U-09: each protocol maps the port that was asked for, to this host and
// nobody else, and the mapping is gone when Keep returns.
func TestKeep(t *testing.T) {
	tests := []struct {
		profile string
		via     Via
		within  time.Duration
	}{
		{"pcp-only", ViaPCP, 0},
		{"natpmp-only", ViaNATPMP, 0},
		{"upnp-only", ViaUPnP, 50 * time.Millisecond},
	}
	for _, tt := range tests {
		for _, p := range []Protocol{UDP, TCP} {
			t.Run(tt.profile+"/"+p.String(), func(t *testing.T) {
				bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
					r := start(t, ctx, l, tt.profile)
					m := newTestMapper(t, l, nil)
					q := udpRequest()
					q.Protocol = p
					k := keep(ctx, m, q)
					got, took := k.next(t, 5*time.Second)
					want := Mapping{
						Protocol: p, Internal: netip.AddrPortFrom(hostAddr, 3545), External: netip.AddrPortFrom(wanAddr, 3545),
						Via: tt.via, Gateway: gatewayAddr, Lifetime: time.Hour,
					}
					if got != want {
						t.Errorf("got  %+v\nwant %+v", got, want)
					}
					if took > tt.within {
						t.Errorf("took %v, want %v", took, tt.within)
					}
					if all := r.Mappings(time.Now()); len(all) != 1 || all[0].Internal != want.Internal {
						t.Errorf("table %v", all)
					}
					if err := k.end(); err != nil {
						t.Error(err)
					}
					if all := r.Mappings(time.Now()); len(all) != 0 {
						t.Errorf("left %v", all)
					}
				})
			})
		}
	}
}

// mapRequests returns what a router was asked to map.
func (r *router) mapRequests() []igd.Request {
	var out []igd.Request
	for _, q := range r.Requests() {
		if q.Internal.Port() != 0 && q.Lifetime > 0 || q.Action == "AddPortMapping" {
			out = append(out, q)
		}
	}
	return out
}

// U-08: an hour is asked for, and again after half of it; what the router does
// not prolong is made anew. The caller hears of it once.
func TestRenewal(t *testing.T) {
	for _, profile := range []string{"pcp-only", "natpmp-only", "upnp-only", "no-renewal", "remote-host-718"} {
		t.Run(profile, func(t *testing.T) {
			bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
				r := start(t, ctx, l, profile)
				k := keep(ctx, newTestMapper(t, l, nil), udpRequest())
				k.next(t, time.Second)
				for range 4 * 60 {
					time.Sleep(time.Minute)
					synctest.Wait() // a renewal may fall into the same instant
					if all := r.Mappings(time.Now()); len(all) != 1 {
						t.Fatalf("table %v", all)
					}
				}
				for i, q := range r.mapRequests() {
					if q.Lifetime != time.Hour {
						t.Errorf("%d: asked for %v", i, q.Lifetime)
					}
				}
				// At 0, 30, ... 240 minutes; twice where once does not help.
				if n := len(r.mapRequests()); n < 8 || n > 20 {
					t.Errorf("asked %d times in four hours", n)
				}
				if err := k.end(); err != nil || len(k.told) != 0 {
					t.Errorf("%v, and told %d times more", err, len(k.told))
				}
			})
		})
	}
}

// U-08: a permanent mapping is made only after the router has refused a lease,
// and only when it could be written down before.
func TestPermanent(t *testing.T) {
	for _, profile := range []string{"permanent-only", "lease-402"} {
		t.Run(profile, func(t *testing.T) {
			bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
				r := start(t, ctx, l, profile)
				if _, err := newTestMapper(t, l, nil).Add(ctx, udpRequest()); !errors.Is(err, ErrPermanentOnly) {
					t.Errorf("without a journal: %v", err)
				}
				if all := r.Mappings(time.Now()); len(all) != 0 {
					t.Errorf("without a journal: %v", all)
				}
				dir := t.TempDir()
				full := newTestMapper(t, l, func(c *Config) { c.Journal = dir })
				for i := range journal.MaxEntries {
					if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), nil, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				before := len(r.mapRequests())
				if _, err := full.Add(ctx, udpRequest()); !errors.Is(err, journal.ErrFull) {
					t.Errorf("with a full journal: %v", err)
				}
				if len(r.mapRequests()) != before {
					t.Error("asked without having written")
				}
				m := newTestMapper(t, l, func(c *Config) { c.Journal = t.TempDir() })
				got, err := m.Add(ctx, udpRequest())
				asked := r.mapRequests()[before:]
				if err != nil || got.Lifetime != 0 || len(asked) != 2 || asked[0].Lifetime != time.Hour || asked[1].Lifetime != 0 {
					t.Errorf("%v: %+v after %v", err, got, asked)
				}
			})
		})
	}
}

// A router that swallows what it is asked by PCP leaves no page behind by each
// run that UPnP has won, and none that is in the way of a deletion.
func TestPagesOfSilence(t *testing.T) {
	pages := func(dir string) int {
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
		r := start(t, ctx, l, "upnp-only")
		deaf := l.listenPacket(netip.AddrPortFrom(gatewayAddr, 5351))
		defer deaf.Close()
		dir := t.TempDir()
		m := newTestMapper(t, l, func(c *Config) { c.Journal = dir })
		for range 5 {
			k := keep(ctx, m, udpRequest())
			k.next(t, time.Second)
			time.Sleep(10 * time.Second)
			k.end()
		}
		if n := pages(dir); n > 1 {
			t.Errorf("five runs left %d pages", n)
		}
		for i := range uint16(journal.MaxEntries + 6) {
			q := udpRequest()
			q.Internal = netip.AddrPortFrom(q.Internal.Addr(), 4000+i)
			got, err := m.Add(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Delete(ctx, UDP, got.External.Port()); err != nil {
				t.Fatalf("the %dth deletion: %v", i, err)
			}
		}
		if all := r.Mappings(time.Now()); len(all) != 0 {
			t.Errorf("left %v", all)
		}
		if _, err := m.Sweep(ctx); err != nil || pages(dir) != 0 {
			t.Errorf("%v: %d pages after a sweep", err, pages(dir))
		}
	})
}

// What was added twice is deleted once.
func TestAddTwice(t *testing.T) {
	for _, profile := range []string{"pcp-only", "natpmp-only", "upnp-only", "permanent-only", "miniupnpd"} {
		t.Run(profile, func(t *testing.T) {
			bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
				r := start(t, ctx, l, profile)
				dir := t.TempDir()
				m := newTestMapper(t, l, func(c *Config) { c.Journal = dir })
				for range 2 {
					if got, err := m.Add(ctx, udpRequest()); err != nil || got.External != netip.AddrPortFrom(wanAddr, 3545) {
						t.Fatalf("%+v, %v", got, err)
					}
				}
				if err := m.Delete(ctx, UDP, 3545); err != nil {
					t.Errorf("delete: %v", err)
				}
				if all := r.Mappings(time.Now()); len(all) != 0 {
					t.Errorf("left %v", all)
				}
				if err := m.Delete(ctx, UDP, 3545); !errors.Is(err, ErrNoMapping) {
					t.Errorf("delete again: %v", err)
				}
			})
		})
	}
}

// U-10, U-14: a port that another host has stays its own, and what we call ours
// names nobody.
func TestForeignMappings(t *testing.T) {
	for _, profile := range []string{"upnp-only", "overwrites", "igd1", "pcp-only", "natpmp-only"} {
		t.Run(profile, func(t *testing.T) {
			bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
				r := start(t, ctx, l, profile)
				theirs := igd.Mapping{
					By: igd.Static, Protocol: 17, External: netip.AddrPortFrom(wanAddr, 3545),
					Internal: netip.MustParseAddrPort("192.168.1.9:3545"), Description: "theirs",
				}
				if profile == "overwrites" || profile == "upnp-only" || profile == "igd1" {
					theirs.By = igd.SOAP
				}
				if err := r.Add(time.Now(), theirs); err != nil {
					t.Fatal(err)
				}
				seed := r.Mappings(time.Now())
				m := newTestMapper(t, l, nil)
				k := keep(ctx, m, udpRequest())
				got, _ := k.next(t, 5*time.Second)
				if got.External.Port() == 3545 {
					t.Errorf("took %v", got.External)
				}
				all := r.Mappings(time.Now())
				if len(all) != 2 || all[0] != seed[0] {
					t.Errorf("table %v", all)
				}
				if got.Via == ViaUPnP {
					if d := all[1].Description; !regexp.MustCompile(`^shipworm [a-z2-7]{10}$`).MatchString(d) {
						t.Errorf("description %q", d)
					}
				}
				if err := m.Delete(ctx, UDP, 3545); err == nil {
					t.Error("deleted theirs")
				}
				k.end()
				if all := r.Mappings(time.Now()); len(all) != 1 || all[0] != seed[0] {
					t.Errorf("left %v", all)
				}
			})
		})
	}
}

// U-13: on a public network not one packet is sent, whatever is called; on the
// others there are some.
func TestNetworks(t *testing.T) {
	calls := map[string]func(context.Context, *Mapper) error{
		"keep": func(ctx context.Context, m *Mapper) error {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			return m.Keep(ctx, udpRequest(), func(Mapping) {})
		},
		"add":    func(ctx context.Context, m *Mapper) error { _, err := m.Add(ctx, udpRequest()); return err },
		"delete": func(ctx context.Context, m *Mapper) error { return m.Delete(ctx, UDP, 3545) },
		"list":   func(ctx context.Context, m *Mapper) error { _, err := m.List(ctx); return err },
		"external": func(ctx context.Context, m *Mapper) error {
			_, err := m.External(ctx, netip.IPv4Unspecified())
			return err
		},
		"show":  func(ctx context.Context, m *Mapper) error { _, err := m.Show(ctx); return err },
		"sweep": func(ctx context.Context, m *Mapper) error { _, err := m.Sweep(ctx); return err },
	}
	for _, network := range []Network{Private, Public, Domain} {
		for name, call := range calls {
			t.Run(network.String()+"/"+name, func(t *testing.T) {
				bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
					start(t, ctx, l, "miniupnpd")
					m := newTestMapper(t, l, func(c *Config) { c.Network, c.Journal = network, t.TempDir() })
					err := call(ctx, m)
					l.mu.Lock()
					defer l.mu.Unlock()
					n := len(l.sent) + len(l.dialed)
					switch {
					case network == Public && (n > 0 || !errors.Is(err, ErrPublicNetwork)):
						t.Errorf("%d packets, %v", n, err)
					case network != Public && name != "sweep" && n == 0:
						t.Errorf("nothing was sent: %v", err)
					}
				})
			})
		}
	}
}

// U-07: nothing but a bound port of this host can be asked for.
func TestRequests(t *testing.T) {
	ok := udpRequest()
	tests := []struct {
		name   string
		change func(*Request)
	}{
		{"no protocol", func(r *Request) { r.Protocol = 0 }},
		{"SCTP", func(r *Request) { r.Protocol = 132 }},
		{"no address", func(r *Request) { r.Internal = netip.AddrPort{} }},
		{"loopback", func(r *Request) { r.Internal = netip.MustParseAddrPort("127.0.0.1:3545") }},
		{"multicast", func(r *Request) { r.Internal = netip.MustParseAddrPort("224.0.0.1:3545") }},
		{"port 0", func(r *Request) { r.Internal = netip.MustParseAddrPort("0.0.0.0:0") }},
		{"port 1023", func(r *Request) { r.Internal = netip.MustParseAddrPort("0.0.0.0:1023") }},
		{"external port 1023", func(r *Request) { r.External = 1023 }},
		{"a minute", func(r *Request) { r.Lifetime = time.Minute }},
		{"two days", func(r *Request) { r.Lifetime = 48 * time.Hour }},
	}
	l := newLAN()
	m := newTestMapper(t, l, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := ok
			tt.change(&r)
			if err := m.Keep(t.Context(), r, nil); err == nil {
				t.Error("no error")
			}
		})
	}
	l.unbound = true
	if err := m.Keep(t.Context(), ok, nil); !errors.Is(err, ErrNotBound) {
		t.Errorf("unbound: %v", err)
	}
	if len(l.sent) > 0 {
		t.Errorf("sent to %v", l.sent)
	}
}

// U-16: however many ports are kept, a gateway is asked one thing at a time.
func TestOneAtATime(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
		r := start(t, ctx, l, "pcp-and-natpmp")
		m := newTestMapper(t, l, nil)
		var all []*keepResult
		for port := range uint16(8) {
			q := udpRequest()
			q.Internal = netip.AddrPortFrom(q.Internal.Addr(), 4000+port)
			all = append(all, keep(ctx, m, q))
		}
		for _, k := range all {
			k.next(t, 5*time.Second)
		}
		if l.crowd != 1 {
			t.Errorf("%d at a time", l.crowd)
		}
		for _, k := range all {
			k.end()
		}
		if left := r.Mappings(time.Now()); len(left) != 0 {
			t.Errorf("left %v", left)
		}
	})
}

// The external address comes from who is fastest, and maps nothing.
func TestExternal(t *testing.T) {
	for profile, tt := range map[string]struct {
		want   string
		within time.Duration
	}{
		"natpmp-only":       {"203.0.113.7", 0},
		"miniupnpd":         {"203.0.113.7", 0},
		"upnp-only":         {"203.0.113.7", 50 * time.Millisecond},
		"external-private":  {"192.168.178.20", 250 * time.Millisecond},
		"pmp-external-zero": {"", attemptTime},
		"external-loopback": {"", attemptTime},
		"pcp-only":          {"", attemptTime},
		"black-hole":        {"", attemptTime},
		"none":              {"", attemptTime},
	} {
		bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
			r := start(t, ctx, l, profile)
			begin := time.Now()
			got, err := newTestMapper(t, l, nil).External(ctx, hostAddr)
			if want, _ := netip.ParseAddr(tt.want); got != want || (err == nil) != want.IsValid() || time.Since(begin) > tt.within {
				t.Errorf("%s: %v, %v after %v", profile, got, err, time.Since(begin))
			}
			if all := r.Mappings(time.Now()); len(all) != 0 {
				t.Errorf("%s: mapped %v", profile, all)
			}
			if got, err := newTestMapper(t, l, nil).External(ctx, netip.MustParseAddr("10.8.0.2")); !errors.Is(err, ErrNoGateway) {
				t.Errorf("%s: %v, %v for the address of a VPN", profile, got, err)
			}
		})
	}
}

// List shows the router's whole table, and knows what Add made by whatever
// protocol, and what another process keeps.
func TestList(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
		r := start(t, ctx, l, "miniupnpd")
		theirs := igd.Mapping{
			By: igd.SOAP, Protocol: 6, External: netip.AddrPortFrom(wanAddr, 80), Internal: netip.MustParseAddrPort("192.168.1.9:8080"), Description: "theirs",
		}
		if err := r.Add(time.Now(), theirs); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		m := newTestMapper(t, l, func(c *Config) { c.Journal = dir })
		got, err := m.Add(ctx, udpRequest())
		if err != nil || got.Via != ViaPCP {
			t.Fatalf("%+v, %v", got, err)
		}
		q := udpRequest()
		q.Internal = netip.AddrPortFrom(q.Internal.Addr(), 4711)
		k := keep(ctx, newTestMapper(t, l, func(c *Config) { c.Journal = dir }), q)
		k.next(t, time.Second)
		all, err := m.List(ctx)
		if err != nil || len(all) != 3 || all[0].Ours || all[0].External != 80 || !all[1].Ours || all[1].External != 3545 || !all[2].Ours || all[2].External != 4711 {
			t.Errorf("%+v, %v", all, err)
		}
		k.end()
	})
}

// Of a router that shows no table List knows what was written down, and Delete
// closes it under the port that the router chose.
func TestListWithoutTable(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
		start(t, ctx, l, "other-port")
		m := newTestMapper(t, l, func(c *Config) { c.Journal = t.TempDir() })
		if all, err := m.List(ctx); all != nil || !errors.Is(err, ErrNoDevice) {
			t.Errorf("%+v, %v", all, err)
		}
		got, err := m.Add(ctx, udpRequest())
		if err != nil || got.External.Port() == 3545 {
			t.Fatalf("%+v, %v", got, err)
		}
		all, err := m.List(ctx)
		if !errors.Is(err, ErrNoDevice) || len(all) != 1 || !all[0].Ours || all[0].External != got.External.Port() || all[0].Internal != got.Internal || all[0].Lease.Round(time.Minute) != time.Hour {
			t.Errorf("%+v, %v", all, err)
		}
		if err := m.Delete(ctx, UDP, got.External.Port()); err != nil {
			t.Error(err)
		}
		if all, err := m.List(ctx); all != nil || !errors.Is(err, ErrNoDevice) {
			t.Errorf("%+v, %v", all, err)
		}
	})
}

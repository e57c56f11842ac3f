package upnp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"shipworm/upnp/pcp"
)

// U-09: a host that stood still while it gave its mapping back, for longer than
// that may take, asks nevertheless, and hears the answer: nothing is left at the
// router or in the journal.
func TestStalledEnd(t *testing.T) {
	tests := []struct {
		profile string
		where   []string
		times   int // that it comes there
	}{
		{"pcp-only", []string{"dial", "read"}, 1},
		{"natpmp-only", []string{"dial", "read"}, 1},
		{"upnp-only", []string{"connect", "answer"}, 2}, // whose it is, and away with it
	}
	for _, tt := range tests {
		for _, where := range tt.where {
			for n := range tt.times {
				for _, d := range []time.Duration{300 * time.Millisecond, dropTime + 200*time.Millisecond, endTime, 10 * time.Second} {
					t.Run(fmt.Sprintf("%s/%s %d/%v", tt.profile, where, n, d), func(t *testing.T) {
						bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
							r := start(t, ctx, l, tt.profile)
							dir := t.TempDir()
							k := keep(ctx, newTestMapper(t, l, func(c *Config) { c.Journal = dir }), udpRequest())
							k.next(t, time.Second)
							l.stall(where, append(make([]time.Duration, n), d)...)
							begin := time.Now()
							if err := k.end(); err != nil {
								t.Error(err)
							}
							if took := time.Since(begin); took > d+10*time.Millisecond {
								t.Errorf("took %v", took)
							}
							if all := r.Mappings(time.Now()); len(all) != 0 {
								t.Errorf("left %v", all)
							}
							if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
								t.Errorf("%v: left %v", err, files)
							}
							time.Sleep(d)   // what was given up ends, too
							synctest.Wait() // it may be the same instant
							if len(l.stalls[where]) != 0 {
								t.Error("it did not stand still: nothing is tested")
							}
						})
					})
				}
			}
		}
	}
}

// U-09: a router that answers as late as Keep may take to end is heard; what one
// that answers later has removed leaves the journal at the next start.
func TestStarvedRouter(t *testing.T) {
	for _, profile := range []string{"pcp-only", "natpmp-only"} {
		for _, tt := range []struct {
			late time.Duration
			left int
		}{{time.Second, 0}, {1800 * time.Millisecond, 0}, {5 * time.Second, 1}} {
			bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
				r := start(t, ctx, l, profile)
				dir := t.TempDir()
				m := newTestMapper(t, l, func(c *Config) { c.Journal = dir })
				k := keep(ctx, m, udpRequest())
				k.next(t, time.Second)
				l.delay(tt.late)
				begin := time.Now()
				if err := k.end(); err != nil || time.Since(begin) > 2*time.Second {
					t.Errorf("%s, %v: %v after %v", profile, tt.late, err, time.Since(begin))
				}
				files, err := os.ReadDir(dir)
				if all := r.Mappings(time.Now()); len(all) != 0 || err != nil || len(files) != tt.left {
					t.Errorf("%s, %v: left %v, and %v in the journal, %v", profile, tt.late, all, files, err)
				}
				l.delay(0)
				time.Sleep(10 * time.Second)
				if _, err := m.Sweep(ctx); err != nil {
					t.Error(err)
				}
				if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
					t.Errorf("%s, %v: left %v after a sweep, %v", profile, tt.late, files, err)
				}
			})
		}
	}
}

// U-09: who ends while a renewal came to nothing looks for the router once more:
// nothing is left where it lives.
func TestEndAfterStall(t *testing.T) {
	for _, where := range []string{"connect", "answer"} {
		for after := 60 * time.Second; after < 72*time.Second; after += time.Second {
			bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
				r := start(t, ctx, l, "upnp-only")
				q := udpRequest()
				q.Lifetime = 2 * time.Minute
				k := keep(ctx, newTestMapper(t, l, nil), q)
				k.next(t, time.Second)
				time.Sleep(58 * time.Second)
				l.stall(where, 5*time.Second)
				time.Sleep(after - 58*time.Second)
				k.end()
				if all := r.Mappings(time.Now()); len(all) != 0 {
					t.Errorf("%s, ended after %v: left %v", where, after, all)
				}
				time.Sleep(time.Minute)
			})
		}
	}
}

// Who ends without an answer from the router is told what may be left.
func TestEndWithoutAnswer(t *testing.T) {
	for profile, tcp := range map[string]bool{"pcp-only": false, "natpmp-only": false, "upnp-only": true} {
		bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
			start(t, ctx, l, profile)
			var log bytes.Buffer
			k := keep(ctx, newTestMapper(t, l, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) }), udpRequest())
			k.next(t, time.Second)
			l.cut(true)
			if tcp {
				l.stall("connect", 10*time.Second, 10*time.Second, 10*time.Second)
			}
			k.end()
			if !strings.Contains(log.String(), `msg="port mapping not removed" mapping=203.0.113.7:3545`) || !strings.Contains(log.String(), ErrSilent.Error()) {
				t.Errorf("%s: logged %s", profile, &log)
			}
			time.Sleep(time.Minute)
		})
	}
}

// U-09: who comes late to give a port up asks all the same, once, unless
// another dialogue is under way.
func TestLateDeletion(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
		r := start(t, ctx, l, "pcp-only")
		m := newTestMapper(t, l, nil)
		over, cancel := context.WithCancel(ctx)
		cancel()
		for range 20 { // a choice of two would err by now
			leave(t, ctx, m)
			q := question{protocol: UDP, internal: netip.AddrPortFrom(hostAddr, 3545), nonce: pcp.Nonce{1}, via: ViaPCP}
			if _, err := m.ask(over, l.gateway, q, nil); err != nil || len(r.Mappings(time.Now())) != 0 {
				t.Fatalf("%v: left %v", err, r.Mappings(time.Now()))
			}
		}
		l.cut(true)
		sent := len(l.sent)
		if _, err := m.ask(over, l.gateway, question{protocol: UDP, internal: netip.AddrPortFrom(hostAddr, 3545), via: ViaPCP}, nil); !errors.Is(err, context.Canceled) || len(l.sent) != sent+1 {
			t.Errorf("%v after %d packets to a silent router", err, len(l.sent)-sent)
		}
	})
}

// A host that stood still for longer than a router may be silent hears its answer
// nevertheless.
func TestStalledQuestion(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
		start(t, ctx, l, "pcp-only")
		m := newTestMapper(t, l, nil)
		for _, d := range []time.Duration{time.Second, maxTime + time.Second, time.Minute} {
			l.stall("read", d)
			q := question{protocol: UDP, internal: netip.AddrPortFrom(hostAddr, 3545), lifetime: time.Hour}
			begin := time.Now()
			got, err := m.ask(ctx, l.gateway, q, nil)
			if took := time.Since(begin); err != nil || got.external.Port() != 3545 || took > d+10*time.Millisecond {
				t.Errorf("%v: %v, %+v after %v", d, err, got, took)
			}
		}
	})
}

// U-09: however much is left of earlier runs, Keep ends within two seconds, and
// what the router does not answer for stays in the journal.
func TestEndOfSweep(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
		start(t, ctx, l, "pcp-only")
		dir := t.TempDir()
		for range 20 {
			leave(t, ctx, newTestMapper(t, l, func(c *Config) { c.Journal = dir }))
		}
		l.cut(true)
		q := udpRequest()
		q.Internal = netip.AddrPortFrom(q.Internal.Addr(), 4711)
		k := keep(ctx, newTestMapper(t, l, func(c *Config) { c.Journal = dir }), q)
		time.Sleep(4 * time.Second) // the router was asked for the port, and has not answered
		begin := time.Now()
		if err := k.end(); err != nil || time.Since(begin) > 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		if files, err := os.ReadDir(dir); err != nil || len(files) < 20 {
			t.Errorf("%v: %d entries are left", err, len(files))
		}
	})
}

package teredo

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"shipworm/teredo/engine"
)

// The policy applies to what a resolver answers. T-32
func TestResolverAnswers(t *testing.T) {
	tests := []struct {
		name   string
		answer string
		stage  Stage
		want   error
	}{
		{"private", "10.1.2.3", StageResolve, ErrServerDenied},
		{"loopback", "127.0.0.1", StageResolve, ErrServerDenied},
		{"carrier-grade", "100.64.1.1", StageResolve, ErrServerDenied},
		{"broadcast", "255.255.255.255", StageResolve, ErrServerDenied},
		{"IPv6", "2001:db8::1", StageResolve, ErrServerDenied},
		{"no address", "", StageResolve, nil},
		{"second one is good", "192.168.1.1 203.0.113.1", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, time.Millisecond)
				w.server()
				h, _ := w.home("cone")
				c, _ := w.client(h, func(c *ClientConfig) {
					c.Server = "teredo.example"
					c.Resolve = func(_ context.Context, host string) (a []netip.Addr, err error) {
						if host != "teredo.example" {
							t.Errorf("asked for %q", host)
						}
						for _, s := range strings.Fields(tt.answer) {
							a = append(a, netip.MustParseAddr(s))
						}
						return a, nil
					}
				})
				_, err := wait(t, c, time.Minute)
				var q *QualifyError
				switch {
				case tt.stage == "":
					if err != nil {
						t.Error(err)
					}
				case !errors.As(err, &q) || q.Stage != tt.stage || tt.want != nil && !errors.Is(err, tt.want):
					t.Errorf("error %v", err)
				case w.sentBy(h) != 0:
					t.Errorf("%d packets sent", w.sentBy(h))
				}
			})
		})
	}
}

// A lookup that hangs for half a minute disturbs no data. T-35
func TestHangingResolver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5*time.Millisecond)
		var server *Server
		server, err := NewServer(ServerConfig{Primary: primary, Secondary: secondary, Listen: listenOn(w.host)})
		if err != nil {
			t.Fatal(err)
		}
		serving, stop := context.WithCancel(t.Context())
		w.start(func(ctx context.Context) error {
			defer context.AfterFunc(ctx, stop)()
			return server.Run(serving)
		})
		lookups := make(chan time.Time, 10)
		hang := func(c *ClientConfig) {
			c.Server = "teredo.example"
			c.Resolve = func(ctx context.Context, _ string) ([]netip.Addr, error) {
				lookups <- time.Now()
				if len(lookups) > 1 {
					select {
					case <-time.After(30 * time.Second):
					case <-ctx.Done():
					}
				}
				return []netip.Addr{primary}, ctx.Err()
			}
		}
		ha, _ := w.home("port-restricted")
		ca, da := w.client(ha, hang)
		hb, _ := w.home("port-restricted")
		cb, db := w.client(hb, nil)
		a, b := mustQualify(t, ca), mustQualify(t, cb)
		<-lookups
		da.toTunnel <- udp6(a.Addr(), b.Addr(), "open the NATs")
		<-db.fromIt
		stop()
		lookups <- time.Now() // so that the next one hangs
		worst := time.Duration(0)
		for start := time.Now(); time.Since(start) < 70*time.Second; time.Sleep(100 * time.Millisecond) {
			sent := time.Now()
			da.toTunnel <- udp6(a.Addr(), b.Addr(), "data")
			select {
			case <-db.fromIt:
				db.toTunnel <- udp6(b.Addr(), a.Addr(), "answer") // or the path would time out
				<-da.fromIt
				if d := time.Since(sent); sent.Sub(start) > time.Second {
					worst = max(worst, d)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("no data %v after the server's end", time.Since(start))
			}
		}
		if len(lookups) < 2 {
			t.Fatal("the name was never looked up again: nothing was tested")
		}
		if worst > 40*time.Millisecond {
			t.Errorf("a packet and its answer took %v beside the lookup, want the 40ms of the lines", worst)
		}
	})
}

// While the server is being resolved the client can be asked all the same.
func TestStateWhileResolving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Millisecond)
		h, _ := w.home("cone")
		c, _ := w.client(h, func(c *ClientConfig) {
			c.Server = "teredo.example"
			c.Resolve = func(ctx context.Context, _ string) ([]netip.Addr, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		})
		synctest.Wait()
		start := time.Now()
		time.AfterFunc(time.Minute, func() { panic("waited for the resolver") })
		c.Refresh()
		if _, ok := c.Peer(netip.MustParseAddr("2001:db8::1")); ok {
			t.Error("a peer before there was a server")
		}
		if s := c.State(); s.ServerName != "teredo.example" || s.State != engine.Initial {
			t.Errorf("state %+v", s)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("waited %v", took)
		}
	})
}

var nobody = netip.MustParseAddr("203.0.113.99")

// answering makes the hooks of a client whose server's name leads to one list
// of addresses after the other, the last of them for good.
func answering(answers ...[]netip.Addr) func(*ClientConfig) {
	return func(c *ClientConfig) {
		c.Server = "teredo.example"
		c.Resolve = func(context.Context, string) ([]netip.Addr, error) {
			a := answers[0]
			answers = answers[min(1, len(answers)-1):]
			return a, nil
		}
	}
}

// A named server that moves is found at its new address, even if the name
// follows late: it is looked up beside each solicitation of the back-off.
func TestServerMoves(t *testing.T) {
	before, after := []netip.Addr{nobody}, []netip.Addr{primary}
	for name, answers := range map[string][][]netip.Addr{
		"at once": {before, after},
		"late":    {before, before, before, after},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, time.Millisecond)
				w.server()
				h, _ := w.home("cone")
				c, _ := w.client(h, answering(answers...))
				time.Sleep(2 * time.Minute)
				if a := mustQualify(t, c); a.Server() != primary {
					t.Errorf("server %v", a.Server())
				}
			})
		})
	}
}

// A name with several addresses in turn does not start a client anew, which
// would be asking without any back-off. TR-06
func TestServerRoundRobin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Millisecond)
		h, _ := w.home("cone")
		var turns atomic.Int32
		c, _ := w.client(h, func(c *ClientConfig) {
			c.Server = "teredo.example"
			c.Resolve = func(context.Context, string) ([]netip.Addr, error) {
				turn := turns.Add(1)
				both := []netip.Addr{primary, nobody, primary}
				return both[turn%2:][:2], nil
			}
		})
		time.Sleep(time.Hour)
		if n := w.sentBy(h); n > 6+18 || turns.Load() < 10 {
			t.Errorf("%d solicitations in an hour, %d lookups", n, turns.Load())
		}
		if s := c.State(); s.State != engine.Offline {
			t.Errorf("state %v", s.State)
		}
	})
}

// A server that is silent, and whose name now leads elsewhere, does not cut
// peers that are up. TR-05
func TestMovedServerKeepsPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5*time.Millisecond)
		server, err := NewServer(ServerConfig{Primary: primary, Listen: listenOn(w.host)})
		if err != nil {
			t.Fatal(err)
		}
		serving, stop := context.WithCancel(t.Context())
		w.start(func(context.Context) error { return server.Run(serving) })
		ha, _ := w.home("port-restricted")
		ca, da := w.client(ha, answering([]netip.Addr{primary}, []netip.Addr{nobody}))
		hb, _ := w.home("port-restricted")
		cb, db := w.client(hb, nil)
		a, b := mustQualify(t, ca), mustQualify(t, cb)
		da.toTunnel <- udp6(a.Addr(), b.Addr(), "open the NATs")
		<-db.fromIt
		stop()
		for range 180 {
			da.toTunnel <- udp6(a.Addr(), b.Addr(), "data")
			<-db.fromIt
			db.toTunnel <- udp6(b.Addr(), a.Addr(), "answer")
			<-da.fromIt
			time.Sleep(time.Second)
			if s := ca.State(); s.Address != a {
				t.Fatalf("address %v, was %v", s.Address, a)
			}
		}
		time.Sleep(7 * time.Minute) // nothing to keep any more, and the longest back-off
		if s := ca.State(); s.Server != nobody || s.Address.IsValid() {
			t.Errorf("server %v, address %v", s.Server, s.Address)
		}
	})
}

package teredo

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"shipworm/teredo/engine"
)

func wait(t testing.TB, c *Client, d time.Duration) (Address, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return c.WaitQualified(ctx)
}

func mustQualify(t testing.TB, c *Client) Address {
	t.Helper()
	a, err := wait(t, c, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Qualification takes one round trip, and the state tells of it. TR-01, T-27
func TestQualify(t *testing.T) {
	for _, profile := range []string{"cone", "address-restricted", "port-restricted"} {
		t.Run(profile, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 20*time.Millisecond)
				w.server()
				h, _ := w.home(profile)
				start := time.Now()
				c, d := w.client(h, nil)
				a := mustQualify(t, c)
				if took := time.Since(start); took != 80*time.Millisecond {
					t.Errorf("qualified after %v, want one round trip of 80ms", took)
				}
				if got := <-d.addrs; got != a.Addr() {
					t.Errorf("the device has %v, want %v", got, a)
				}
				s := c.State()
				if s.State != engine.Ready || s.Address != a || s.Mapped != a.Mapped() || s.Server != primary || s.ServerName != primary.String() {
					t.Errorf("state %+v", s)
				}
				if a.Server() != primary || a.Mapped().Addr() != netip.MustParseAddr("198.51.100.1") {
					t.Errorf("address %v: server %v, mapped %v", a, a.Server(), a.Mapped())
				}
				if p := s.Local.Port(); p < firstPort {
					t.Errorf("service port %d, want a dynamic one", p)
				}
			})
		})
	}
}

func TestServerWithOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Millisecond)
		s, err := NewServer(ServerConfig{Primary: primary, Listen: listenOn(w.host)})
		if err != nil {
			t.Fatal(err)
		}
		w.start(s.Run)
		h, _ := w.home("port-restricted")
		c, _ := w.client(h, nil)
		mustQualify(t, c)
		if st := s.State(); st.Advertised != 1 || len(st.Sockets) != 1 {
			t.Errorf("server state %+v", st)
		}
	})
}

// Two clients behind port-restricted NATs exchange packets both ways.
func TestTwoClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10*time.Millisecond)
		w.server()
		ha, _ := w.home("port-restricted")
		ca, da := w.client(ha, nil)
		hb, _ := w.home("port-restricted")
		cb, db := w.client(hb, nil)
		a, b := mustQualify(t, ca), mustQualify(t, cb)
		start := time.Now()
		da.toTunnel <- udp6(a.Addr(), b.Addr(), "over")
		if got := string((<-db.fromIt)[48:]); got != "over" {
			t.Errorf("got %q", got)
		}
		db.toTunnel <- udp6(b.Addr(), a.Addr(), "and back")
		if got := string((<-da.fromIt)[48:]); got != "and back" {
			t.Errorf("got %q", got)
		}
		t.Logf("first packet and its answer took %v", time.Since(start))
		if p, ok := ca.Peer(b.Addr()); !ok || !p.Up || p.Endpoint != b.Mapped() {
			t.Errorf("peer %+v, %v", p, ok)
		}
	})
}

// A client that was made but not run has sent nothing and opened nothing, and
// a client that ended sends no more. T-28
func TestOffUntilAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Millisecond)
		w.server()
		h, _ := w.home("cone")
		c, err := NewClient(ClientConfig{Server: primary.String(), Listen: listenOn(h), Device: newMemory()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := wait(t, c, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("WaitQualified without Run: %v", err)
		}
		if s := c.State(); s.State != engine.Initial {
			t.Errorf("state before Run: %v", s.State)
		}
		if n := w.sentBy(h); n != 0 {
			t.Errorf("%d packets sent before Run", n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		if err := c.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
		n := w.sentBy(h)
		time.Sleep(time.Hour)
		if m := w.sentBy(h); n == 0 || m != n {
			t.Errorf("%d packets while running, %d more after", n, m-n)
		}
		if s := c.State(); s.State != engine.Ready || s.Address == (Address{}) {
			t.Errorf("state after Run: %+v, want the last one", s)
		}
		if _, err := c.WaitQualified(t.Context()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("WaitQualified after Run: %v", err)
		}
		if err := c.Run(t.Context()); !errors.Is(err, ErrRan) {
			t.Errorf("second Run: %v", err)
		}
	})
}

// A silent server is an error with a name, and no end: the client goes on.
func TestServerSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Millisecond)
		h, _ := w.home("cone")
		c, _ := w.client(h, nil)
		start := time.Now()
		_, err := wait(t, c, time.Hour)
		var q *QualifyError
		if !errors.As(err, &q) || q.Stage != StageSolicit || q.Server != primary.String() || !errors.Is(err, ErrServerSilent) {
			t.Fatalf("error %v", err)
		}
		if took := time.Since(start); took != 15500*time.Millisecond {
			t.Errorf("gave up after %v, want 15.5s", took)
		}
		w.server()
		time.Sleep(time.Minute)
		mustQualify(t, c)
	})
}

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
		var turn atomic.Int32
		c, _ := w.client(h, func(c *ClientConfig) {
			c.Server = "teredo.example"
			c.Resolve = func(context.Context, string) ([]netip.Addr, error) {
				n := turn.Add(1)
				both := []netip.Addr{primary, nobody, primary}
				return both[n%2:][:2], nil
			}
		})
		time.Sleep(time.Hour)
		if n := w.sentBy(h); n > 6+18 || turn.Load() < 10 {
			t.Errorf("%d solicitations in an hour, %d lookups", n, turn.Load())
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

// The router gets another address: the client notices at its next refresh at
// the latest, has a new address, and the device follows. TR-02
func TestMappingChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10*time.Millisecond)
		w.server()
		h, r := w.home("port-restricted")
		c, d := w.client(h, nil)
		old := mustQualify(t, c)
		<-d.addrs
		other := netip.MustParseAddr("198.51.100.77")
		w.w.Do(func() {
			if err := r.SetExternal(other); err != nil {
				t.Error(err)
			}
		})
		start := time.Now()
		var live netip.Addr
		for live == (netip.Addr{}) || live == old.Addr() {
			select {
			case live = <-d.addrs:
			case <-time.After(time.Minute):
				t.Fatal("the device kept the old address")
			}
		}
		a := mustQualify(t, c)
		if took := time.Since(start); took > 31*time.Second || a.Mapped().Addr() != other || live != a.Addr() {
			t.Errorf("after %v: address %v, device %v", took, a, live)
		}
	})
}

// A clock that runs ahead of the monotonic one means sleep; one that does not
// means nothing, nor does one that falls behind. TR-04
func TestSleep(t *testing.T) {
	tests := []struct {
		name string
		jump time.Duration
		want int
	}{
		{"awake", 0, 0}, {"a second", time.Second, 0}, {"just below", 7500 * time.Millisecond, 0},
		{"just above", 7501 * time.Millisecond, 1}, {"a night", 8 * time.Hour, 1}, {"backwards", -time.Hour, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				clock := func() time.Duration {
					awake := time.Since(start)
					if awake > 12*time.Second {
						return awake + tt.jump
					}
					return awake
				}
				news := make(chan string, 10)
				watchSleep(ctx, clock, news)
				if len(news) != tt.want {
					t.Errorf("%d reports, want %d", len(news), tt.want)
				}
			})
		})
	}
}

// News of the network brings a solicitation at once. TR-03, TR-04
func TestRefreshSolicits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Millisecond)
		w.server()
		h, _ := w.home("cone")
		c, _ := w.client(h, nil)
		mustQualify(t, c)
		before := c.State().Solicitations
		c.Refresh()
		if s := c.State(); s.Solicitations != before+1 || s.State != engine.Ready {
			t.Errorf("%d solicitations, were %d; state %v", s.Solicitations, before, s.State)
		}
	})
}

func TestForeignDeviceHasNoSockets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Millisecond)
		w.server()
		h, _ := w.home("cone")
		c, _ := w.client(h, nil)
		if _, err := c.ListenPacket(t.Context(), 0); !errors.Is(err, ErrNoHost) {
			t.Errorf("ListenPacket: %v", err)
		}
	})
}

func TestConfigErrors(t *testing.T) {
	tests := []struct {
		name string
		cfg  ClientConfig
		want string
	}{
		{"nothing", ClientConfig{}, "no server"},
		{"IPv6 server", ClientConfig{Server: "2001:db8::1"}, "not an IPv4 address"},
		{"the same server twice", ClientConfig{Server: "192.0.2.1", Secondary: "192.0.2.1"}, "not another"},
		{"short refresh", ClientConfig{Server: "x", Refresh: time.Second}, "refresh"},
		{"both", ClientConfig{Refresh: time.Hour}, "no server\nrefresh"},
	}
	for _, tt := range tests {
		if _, err := NewClient(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q in it", tt.name, err, tt.want)
		}
	}
	for _, cfg := range []ServerConfig{{}, {Primary: netip.MustParseAddr("10.0.0.1")}, {Primary: primary, Secondary: primary}} {
		if _, err := NewServer(cfg); err == nil {
			t.Errorf("NewServer(%+v) gave no error", cfg)
		}
	}
}

// A socket that cannot be opened ends Run with the stage, and a device that
// was handed over is closed.
func TestSocketError(t *testing.T) {
	d := newMemory()
	c, err := NewClient(ClientConfig{Server: primary.String(), Device: d, Listen: func(context.Context, netip.AddrPort) (net.PacketConn, error) {
		return nil, io.ErrNoProgress
	}})
	if err != nil {
		t.Fatal(err)
	}
	var q *QualifyError
	if err := c.Run(t.Context()); !errors.As(err, &q) || q.Stage != StageSocket || !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("Run = %v", err)
	}
	if _, err := c.WaitQualified(t.Context()); !errors.As(err, &q) {
		t.Errorf("WaitQualified = %v", err)
	}
	<-d.closed
}

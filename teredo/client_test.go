package teredo

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
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
	<-d.Closed()
}

package teredo

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"shipworm/teredo/engine"
)

// A running client goes over to another server at once, from whatever state:
// the old address goes before the new one comes. What does not concern the
// server leaves the address alone, and a server that does not exist everything.
// T-32
func TestChange(t *testing.T) {
	for name, first := range map[string]string{"from a server": primary.String(), "from none": dead} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, time.Millisecond)
				w.server()
				other := netip.MustParseAddr("203.0.113.9")
				host, err := w.w.Host("other", w.line, other)
				if err != nil {
					t.Fatal(err)
				}
				s2, err := NewServer(ServerConfig{Primary: other, Listen: listenOn(host)})
				if err != nil {
					t.Fatal(err)
				}
				w.start(s2.Run)
				h, _ := w.home("cone")
				var events []engine.EventKind
				c, d := w.client(h, func(c *ClientConfig) {
					c.Server = first
					c.OnEvent = func(e Event) {
						if e.Kind == engine.Qualified || e.Kind == engine.AddressLost {
							events = append(events, e.Kind)
						}
					}
					c.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
						if host == "other.example" {
							return []netip.Addr{other}, nil
						}
						return nil, errors.New("no such host")
					}
				})
				_, _ = wait(t, c, time.Minute)
				set := c.Settings()
				before := c.State()

				set.Refresh = 10 * time.Second
				if err := c.Change(t.Context(), set); err != nil {
					t.Fatal(err)
				}
				bad := set
				bad.Server.Primary = "nowhere.example"
				if err := c.Change(t.Context(), bad); !errors.As(err, new(*QualifyError)) {
					t.Errorf("a server that does not exist: %v", err)
				}
				bad.Server.Primary = "10.0.0.1"
				if err := c.Change(t.Context(), bad); !errors.Is(err, ErrServerDenied) {
					t.Errorf("a private server: %v", err)
				}
				bad = set
				bad.Refresh = time.Second
				if err := c.Change(t.Context(), bad); err == nil {
					t.Error("a refresh interval of a second was taken")
				}
				if got := c.Settings(); got != set {
					t.Errorf("settings %+v, want %+v", got, set)
				}
				if s := c.State(); s.Address != before.Address || s.Refresh != set.Refresh || s.ServerName != first {
					t.Errorf("%+v", s)
				}
				if before.Address.IsValid() {
					n := w.sentBy(h)
					time.Sleep(100 * time.Second)
					if n = w.sentBy(h) - n; n < 9 || n > 15 {
						t.Errorf("%d solicitations in 100 s, every 10 s", n)
					}
				}

				set.Server = ServerName{Primary: "other.example"}
				if err := c.Change(t.Context(), set); err != nil {
					t.Fatal(err)
				}
				a, err := wait(t, c, time.Second)
				if err != nil || a.Server() != other || c.State().ServerName != "other.example" || c.State().Refresh != set.Refresh {
					t.Fatalf("%v, %v, %+v", a, err, c.State())
				}
				want := []engine.EventKind{engine.Qualified, engine.AddressLost, engine.Qualified}
				if !before.Address.IsValid() {
					want = want[:1]
				}
				if len(events) != len(want) || events[len(events)-1] != engine.Qualified {
					t.Errorf("events %v, want %v", events, want)
				}
				var last netip.Addr
				for len(d.addrs) > 0 {
					last = <-d.addrs
				}
				if last != a.Addr() {
					t.Errorf("the device has %v, want %v", last, a)
				}
			})
		})
	}
}

// A client that forces its way stops doing so when it is told. T-28
func TestChangeForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Millisecond)
		w.server()
		h, _ := w.home("cone")
		c, _ := w.client(h, func(c *ClientConfig) {
			c.Force = true
			c.Native = func() bool { return true }
		})
		if _, err := wait(t, c, time.Minute); err != nil {
			t.Fatal(err)
		}
		set := c.Settings()
		set.Force = false
		if err := c.Change(t.Context(), set); err != nil {
			t.Fatal(err)
		}
		select {
		case <-c.Done():
		case <-time.After(2 * gateEvery):
			t.Fatal("it still runs")
		}
		if err := c.Change(t.Context(), set); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
	})
}

package teredo

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const dead, dead2 = "203.0.113.77", "203.0.113.78" // nobody lives there

// When the first server is silent the next ones get their turn, names that
// lead nowhere among them, before anybody is told that there is no address.
func TestFailover(t *testing.T) {
	for name, list := range map[string][]string{
		"the second answers":     {dead, primary.String()},
		"the third answers":      {dead, dead2, primary.String()},
		"a name without address": {dead, "nowhere.example", primary.String()},
		"the first is no server": {"nowhere.example", primary.String()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, time.Millisecond)
				w.server()
				h, _ := w.home("cone")
				began := time.Now()
				c, _ := w.client(h, func(c *ClientConfig) {
					c.Server = list[0]
					for _, s := range list[1:] {
						c.Fallback = append(c.Fallback, ServerName{Primary: s})
					}
					c.Resolve = func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no such host") }
				})
				a, err := wait(t, c, 5*time.Minute)
				if err != nil || a.Server() != primary || c.State().ServerName != primary.String() {
					t.Fatalf("after %v: %v, %v, server %q", time.Since(began), a, err, c.State().ServerName)
				}
				if d := time.Since(began); d > 60*time.Second {
					t.Errorf("it took %v", d)
				}
			})
		})
	}
}

// With all of them silent a client says so, sends a series every 300 s at most,
// and finds the first that comes back within two turns.
func TestFailoverBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Millisecond)
		h, _ := w.home("cone")
		c, _ := w.client(h, func(c *ClientConfig) {
			c.Server = dead
			c.Fallback = []ServerName{{Primary: primary.String(), Secondary: secondary.String()}}
		})
		_, err := wait(t, c, time.Minute)
		if q := new(QualifyError); !errors.As(err, &q) || q.Stage != StageSolicit || !errors.Is(err, ErrServerSilent) {
			t.Fatalf("error %v", err)
		}
		time.Sleep(24 * time.Hour)
		if n := w.sentBy(h); n > 288*7 { // a series, and one for the back-off, in each pause
			t.Errorf("%d packets in a day without a server", n)
		} else {
			t.Logf("%d packets in a day without a server", n)
		}
		w.server()
		time.Sleep(2*failoverPause + time.Minute)
		if s := c.State(); !s.Address.IsValid() || s.ServerName != primary.String() {
			t.Errorf("not found again: %v, %s", s.ClientState.State, s.ServerName)
		}
	})
}

// Every server of the list is checked.
func TestFallbackErrors(t *testing.T) {
	_, err := NewClient(ClientConfig{Server: "a.example", Fallback: []ServerName{{}, {Primary: "2001:db8::1"}, {Primary: "b", Secondary: "b"}}})
	for _, want := range []string{"no server", "server 2001:db8::1: not an IPv4 address", "secondary server b: not another one"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: no %q", err, want)
		}
	}
}

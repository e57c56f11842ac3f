package teredo

import (
	"context"
	"errors"
	"fmt"
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

// With all of them silent a client says so, asks no more often than it would ask
// one, however many there are and whatever their names lead to, and finds the
// one that comes back once it has its turn. TR-06
func TestFailoverBackOff(t *testing.T) {
	for name, tt := range map[string]struct {
		dead, nameless int // before the one that comes back
	}{
		"one": {}, "two": {1, 0}, "three": {2, 0}, "four": {3, 0}, "eight": {7, 0}, "twelve": {11, 0},
		// A name that cannot be resolved takes no turn, and costs nothing.
		"two and one without address": {1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, time.Millisecond)
				h, _ := w.home("cone")
				c, _ := w.client(h, func(c *ClientConfig) {
					list := []ServerName{{Primary: primary.String(), Secondary: secondary.String()}}
					for range tt.nameless {
						list = append([]ServerName{{Primary: "nowhere.example"}}, list...)
					}
					for i := range tt.dead {
						list = append([]ServerName{{Primary: fmt.Sprintf("203.0.113.%d", 100+i)}}, list...)
					}
					c.Server, c.Secondary, c.Fallback = list[0].Primary, list[0].Secondary, list[1:]
					c.Resolve = func(context.Context, string) ([]netip.Addr, error) {
						time.Sleep(5 * time.Second)
						return nil, errors.New("no such host")
					}
				})
				_, err := wait(t, c, time.Minute)
				if q := new(QualifyError); !errors.As(err, &q) || q.Stage != StageSolicit || !errors.Is(err, ErrServerSilent) {
					t.Fatalf("error %v", err)
				}
				time.Sleep(24 * time.Hour)
				if n := w.sentBy(h); n > 310 || n < 280 {
					t.Errorf("%d solicitations in a day without a server, want 280 to 310", n)
				} else {
					t.Logf("%d solicitations in a day", n)
				}
				w.server()
				time.Sleep(time.Duration(tt.dead+tt.nameless+1)*301*time.Second + 15*time.Second)
				if s := c.State(); !s.Address.IsValid() || s.ServerName != primary.String() {
					t.Errorf("not found again: %v, %s", s.ClientState.State, s.ServerName)
				}
			})
		})
	}
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

package natprobe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"shipworm/natprobe/message"
	"shipworm/natprobe/report"
	"shipworm/testnet/nat"
)

func TestMain(m *testing.M) {
	if inside, code := enterLab(); !inside {
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}

// bubble runs a prober on a rig's world in virtual time.
func bubble(t *testing.T, c Config, routers []nat.Config, servers func(*rig), f func(*testing.T, *rig, *Prober)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, 0, routers...)
		servers(r)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { r.w.Run(ctx); close(ended) }()
		defer func() { cancel(); <-ended }()
		c.Local = r.client.Addr()
		c.Listen = func(_ context.Context, local netip.AddrPort) (net.PacketConn, error) {
			return r.client.ListenPacket(local)
		}
		if c.Servers == nil {
			c.Servers = []netip.AddrPort{addrPort("198.51.100.1:3478")}
		}
		p, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		f(t, r, p)
	})
}

// N-07: a run leaves no socket behind, whether it ends or is cancelled: the
// ports can be bound again, and no goroutine is left (TestMain).
func TestRunLeavesNothing(t *testing.T) {
	open := 0
	c := Config{Tests: Tests{Ports: true}}
	bubble(t, c, []nat.Config{profile(t, "linux")}, func(r *rig) { r.server(correct, "198.51.100.1", "198.51.100.2") }, func(t *testing.T, r *rig, p *Prober) {
		listen := p.cfg.Listen
		p.cfg.Listen = func(ctx context.Context, local netip.AddrPort) (net.PacketConn, error) {
			c, err := listen(ctx, local)
			if err == nil {
				open++
				c = &counted{c, &open}
			}
			return c, err
		}
		rep, err := p.Run(t.Context())
		if err != nil || rep.Classic() != "port restricted cone" {
			t.Fatalf("%v %v", rep, err)
		}
		if open != 0 {
			t.Errorf("%d sockets are open after the run", open)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 60*ms)
		defer cancel()
		if _, err := p.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("cancelled run: %v", err)
		}
		if open != 0 {
			t.Errorf("%d sockets are open after a cancelled run", open)
		}
	})
}

type counted struct {
	net.PacketConn
	open *int
}

func (c *counted) Close() error { *c.open--; return c.PacketConn.Close() }

// What a Teredo client knows is the answer where no STUN server gives one.
func TestTeredoFallback(t *testing.T) {
	c := Config{Teredo: func(context.Context) (*report.Report, error) {
		return &report.Report{Kind: report.Teredo, Access: report.NAT}, nil
	}}
	bubble(t, c, []nat.Config{profile(t, "udp-blocked")}, func(r *rig) { r.server(correct, "198.51.100.1", "198.51.100.2") }, func(t *testing.T, r *rig, p *Prober) {
		rep, err := p.Run(t.Context())
		if err != nil || rep.Kind != report.Teredo {
			t.Errorf("%v, %v", rep, err)
		}
	})
}

// A TCP connection shows that the server is there and UDP is not; a refusal
// comes from any host that runs no STUN server.
func TestDial(t *testing.T) {
	for cause, want := range map[error]report.Silence{
		nil: report.UDPBlocked, syscall.ECONNREFUSED: report.SilenceUnknown, syscall.EHOSTUNREACH: report.SilenceUnknown,
	} {
		c := Config{Dial: func(_ context.Context, network, address string) (net.Conn, error) {
			if network != "tcp" || address != "198.51.100.1:3478" {
				t.Errorf("dials %s %s", network, address)
			}
			if cause == nil {
				c, _ := net.Pipe()
				return c, nil
			}
			return nil, &net.OpError{Op: "dial", Err: cause}
		}}
		bubble(t, c, []nat.Config{profile(t, "udp-blocked")}, func(*rig) {}, func(t *testing.T, r *rig, p *Prober) {
			began := time.Now()
			rep, err := p.Run(t.Context())
			if took := time.Since(began); err != nil || rep.Silence != want || took > 2*time.Second {
				t.Errorf("%v: %+v, %v after %v", cause, rep, err, took)
			}
		})
	}
}

// Kernel sockets over loopback, in both address families.
func TestLoopback(t *testing.T) {
	var servers []netip.AddrPort
	for _, a := range []string{"127.0.0.1", "::1"} {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr(a), 0)))
		if err != nil {
			t.Skipf("no loopback address %s: %v", a, err)
		}
		ended := make(chan struct{})
		go func() { defer close(ended); answer(c) }()
		t.Cleanup(func() { c.Close(); <-ended })
		servers = append(servers, c.LocalAddr().(*net.UDPAddr).AddrPort())
	}
	p, err := New(Config{Servers: servers})
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Run(t.Context())
	if err != nil || r.IPv6 == nil {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, r := range []*report.Report{r, r.IPv6} {
		if r.Kind != report.Single || r.Mapped != r.Local || !r.Mapped.Addr().IsLoopback() || r.Mapping != report.EndpointIndependent {
			t.Errorf("%+v", r)
		}
	}
	if r.Mapped.Addr().Is4() == r.IPv6.Mapped.Addr().Is4() {
		t.Error("one family twice")
	}
}

// answer is a STUN server with one address.
func answer(c *net.UDPConn) {
	buf := make([]byte, 2048)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if req, err := message.Parse(buf[:n]); err == nil {
			ans := message.Message{Class: message.Success, ID: req.ID, XORMapped: unmap(from)}
			c.WriteToUDPAddrPort(ans.Append(nil), from)
		}
	}
}

// All problems of a configuration are reported at once.
func TestValidate(t *testing.T) {
	err := Config{
		Servers: []netip.AddrPort{addrPort("0.0.0.0:1"), addrPort("192.0.2.1:0")},
		Tests:   Tests{Lifetime: -time.Second},
		Listen:  func(context.Context, netip.AddrPort) (net.PacketConn, error) { return nil, nil },
	}.Validate()
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) || len(joined.Unwrap()) != 4 {
		t.Errorf("%v: want four problems", err)
	}
	if _, err := New(Config{}); err == nil {
		t.Error("no server is no error")
	}
}

// The router is asked for its address only where there is a NAT, and beside the
// tests; the run waits for what it says.
func TestAskWAN(t *testing.T) {
	const slow = 400 * ms
	for _, tt := range []struct {
		nat   string
		wan   string
		asked int
		cgnat report.Verdict
	}{
		{"linux", "203.0.113.77", 1, report.Yes},
		{"linux", "100.64.0.9", 1, report.Yes},
		{"linux", "", 1, report.NotTested}, // it does not say
		{"none", "203.0.113.77", 0, report.NotTested},
	} {
		asked := 0
		c := Config{AskWAN: func(context.Context) (wan netip.Addr) {
			asked++
			time.Sleep(slow)
			if tt.wan != "" {
				wan = addr(tt.wan)
			}
			return wan
		}}
		bubble(t, c, []nat.Config{profile(t, tt.nat)}, func(r *rig) { r.server(correct, "198.51.100.1", "198.51.100.2") }, func(t *testing.T, r *rig, p *Prober) {
			began := time.Now()
			rep, err := p.Run(t.Context())
			if err != nil || asked != tt.asked || rep.CGNAT != tt.cgnat {
				t.Errorf("%s, %q: %v, asked %d times, %v", tt.nat, tt.wan, err, asked, rep.CGNAT)
			}
			if took := time.Since(began); took > slow+100*ms {
				t.Errorf("%s, %q: took %v", tt.nat, tt.wan, took)
			}
		})
	}
}

package natprobe

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"shipworm/internal/leak"
	"shipworm/natprobe/message"
	"shipworm/natprobe/report"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

func TestMain(m *testing.M) {
	if inside, code := enterLab(); !inside {
		os.Exit(code)
	}
	goleak.VerifyTestMain(leak.Patient(m))
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

// One prober sees from run to run what changes: a router that restarts and gets
// another address, and one that lets nothing through any more.
func TestRunsSeeChanges(t *testing.T) {
	bubble(t, Config{}, []nat.Config{profile(t, "port-restricted")}, func(r *rig) { r.server(correct, a1, a2) }, func(t *testing.T, r *rig, p *Prober) {
		var last *report.Report
		for _, step := range []struct {
			change func() error
			want   []string
		}{
			{func() error { return nil }, nil},
			{func() error { return nil }, nil},
			{func() error { return r.routers[0].SetExternal(addr("203.0.113.77")) }, []string{"external address: 203.0.113.77, was 203.0.113.1"}},
			{func() error { return r.routers[0].SetLink(link.Config{Loss: 1}) }, []string{"no server answers any more"}},
			{func() error { return r.routers[0].SetLink(link.Config{Delay: 20 * ms}) }, []string{"servers answer again"}},
		} {
			var err error
			r.w.Do(func() { err = step.change() })
			if err != nil {
				t.Fatal(err)
			}
			rep, err := p.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if last != nil {
				if got := report.Changes(last, rep); !slices.Equal(got, step.want) {
					t.Errorf("%q, want %q", got, step.want)
				}
			}
			last = rep
			time.Sleep(time.Minute)
		}
	})
}

// A run with both lifetimes is three passes, whose results are one report.
func TestPasses(t *testing.T) {
	c := Config{Tests: Tests{Lifetime: time.Minute, StreamLifetime: 3 * time.Minute, Ports: true}}
	bubble(t, c, []nat.Config{profile(t, "linux")}, func(r *rig) { r.server(correct, a1, a2) }, func(t *testing.T, r *rig, p *Prober) {
		rep, err := p.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		between := func(b report.Bound, truth time.Duration) bool {
			return time.Duration(b.Alive) < truth && truth <= time.Duration(b.Dead)
		}
		if l := rep.Lifetimes; !between(l.Single, 30*time.Second) || !between(l.Stream, 2*time.Minute) || l.InboundRefresh != report.Yes {
			t.Errorf("%+v", l)
		}
		if rep.Parity != report.Yes || rep.Duration < report.Duration(4*time.Minute) || rep.Packets.Sent > 3*MaxPackets {
			t.Errorf("parity %v, %v, %+v", rep.Parity, rep.Duration, rep.Packets)
		}
	})
}

// Where one address family has no route, the other one is probed.
func TestOneFamily(t *testing.T) {
	for _, family := range []string{"IPv4", "IPv6"} {
		c := Config{Servers: []netip.AddrPort{addrPort(a1 + ":3478"), addrPort("[2001:db8::1]:3478")}}
		bubble(t, c, []nat.Config{profile(t, "linux")}, func(r *rig) { r.server(correct, a1, a2) }, func(t *testing.T, r *rig, p *Prober) {
			listen := p.cfg.Listen
			p.cfg.Local = netip.Addr{}
			p.route = func(to netip.AddrPort) (netip.Addr, error) {
				if to.Addr().Is4() == (family == "IPv4") {
					return netip.Addr{}, syscall.ENETUNREACH
				}
				return addr(map[bool]string{true: "192.168.1.2", false: "2001:db8::2"}[to.Addr().Is4()]), nil
			}
			p.cfg.Listen = func(ctx context.Context, local netip.AddrPort) (net.PacketConn, error) {
				if local.Addr().Is6() {
					local = netip.AddrPortFrom(r.client.Addr(), local.Port())
				}
				c, err := listen(ctx, local)
				return mute{c}, err
			}
			rep, err := p.Run(t.Context())
			if err != nil || rep.IPv6 != nil || !slices.ContainsFunc(rep.Evidence, func(e report.Evidence) bool { return e.For == strings.ToLower(family) }) {
				t.Errorf("no %s: %+v, %v", family, rep, err)
			}
		})
	}
}

// mute sends nothing.
type mute struct{ net.PacketConn }

func (mute) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), nil }

// What arrived before a time is over counts, though those who read are late.
func TestLateReaders(t *testing.T) { synctest.Test(t, lateReaders) }

func lateReaders(t *testing.T) {
	d := &driver{m: newMachine(Config{Servers: []netip.AddrPort{addrPort(a1 + ":3478")}}, newPacer(begin)), inbox: make(chan datagram)}
	d.cfg.Logger = slog.New(slog.DiscardHandler)
	d.m.start(begin)
	var answers []datagram
	for _, a := range d.m.actions() {
		if a.kind == actOpen {
			d.m.opened(a.sock, netip.AddrPortFrom(addr("192.168.1.2"), 4000+uint16(a.sock)), nil)
		}
		if req, _ := message.Parse(a.data); a.kind == actSend && !req.ChangePort {
			ans := message.Message{Class: message.Success, ID: req.ID, XORMapped: addrPort("203.0.113.1:7")}
			answers = append(answers, datagram{begin.Add(20 * ms), a.sock, a.to, ans.Append(nil)})
		}
	}
	go func() {
		for _, g := range answers {
			d.inbox <- g
		}
	}()
	d.drain(0)
	if len(answers) != 2 || d.m.count.Answers != 2 || d.m.clock.most != 20*ms {
		t.Errorf("%d answers, %+v, round trip %v", len(answers), d.m.count, d.m.clock.most)
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
	var r *report.Report
	for range 10 { // a server that stands still seems to be none
		if r, err = p.Run(t.Context()); err != nil || r.IPv6 != nil && r.Kind == report.Single && r.IPv6.Kind == report.Single {
			break
		}
	}
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
		c := Config{AskWAN: func(_ context.Context, local netip.Addr) (wan netip.Addr) {
			if local != addr("192.168.1.2") {
				t.Errorf("asked for %v", local)
			}
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

package adversary_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"shipworm/testnet/adversary"
	"shipworm/testnet/invariant"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
)

func addr(s string) netip.Addr         { return netip.MustParseAddr(s) }
func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

var (
	start  = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	server = addrPort("198.51.100.1:3544")
	public = addr("203.0.113.1")
	forger = addrPort("198.18.5.6:777")
)

// town is alice behind a NAT, a server that answers in capitals, and a bad
// neighbourhood.
type town struct {
	t     *testing.T
	w     *sim.World
	x     *invariant.Watch
	home  *sim.Router
	alice *sim.Host
	eve   *sim.Host
	port  *sim.UDPPort
	heard []string // by the server, with the sender
	got   []string // by alice, with the sender
}

func newTown(t *testing.T) *town {
	n := &town{t: t, w: sim.New(5, start)}
	n.x = invariant.Install(t, n.w, invariant.Config{Factor: map[string]float64{"server": 1}})
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	line := link.Config{Delay: 10 * time.Millisecond}
	cfg, _ := nat.Profile("port-restricted")
	cfg.External = []netip.Addr{public}
	var err error
	n.home, err = n.w.Router("home", cfg, line)
	must(err)
	n.alice, err = n.home.Host("alice", link.Config{}, addr("192.168.1.2"))
	must(err)
	n.eve, err = n.w.Host("eve", line, addr("198.51.100.66"))
	must(err)
	h, err := n.w.Host("server", line, server.Addr())
	must(err)
	var u *sim.UDPPort
	u, err = h.BindUDP(server.Port(), func(_ time.Time, from netip.AddrPort, b []byte) {
		n.heard = append(n.heard, fmt.Sprintf("%v %s", from, b))
		u.SendTo(from, []byte(strings.ToUpper(string(b))))
	})
	must(err)
	n.port, err = n.alice.BindUDP(5000, func(_ time.Time, from netip.AddrPort, b []byte) {
		n.got = append(n.got, fmt.Sprintf("%v %s", from, b))
	})
	must(err)
	return n
}

func (n *town) run(d time.Duration) { n.w.Advance(n.w.Now().Add(d)) }

// say has alice send texts to the server, and waits a second after each.
func (n *town) say(texts ...string) {
	for _, s := range texts {
		n.port.SendTo(server, []byte(s))
		n.run(time.Second)
	}
}

func (n *town) expect(what string, got []string, want ...string) {
	n.t.Helper()
	if !slices.Equal(got, want) {
		n.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// L-03: a spoofer's victim gets the answers; who sends an address that is not
// IPv4 sends nothing.
func TestSpoofer(t *testing.T) {
	n := newTown(t)
	v := adversary.Victim{}
	h, err := n.w.Host("victim", link.Config{}, forger.Addr())
	if err != nil {
		t.Fatal(err)
	}
	v.Attach(h)
	s := adversary.Spoofer{}
	s.Attach(n.eve)
	s.Send(forger, server, []byte("hello"))
	s.Send(addrPort("[::ffff:198.18.5.6]:777"), server, []byte("hello"))
	s.Send(addrPort("[2001:db8::1]:777"), server, []byte("hello"))
	s.Send(forger, server, make([]byte, 65508))
	n.run(time.Second)
	n.expect("server", n.heard, "198.18.5.6:777 hello", "198.18.5.6:777 hello")
	if v.Packets != 2 || v.Bytes != 66 || v.From[server.Addr()] != 2 {
		t.Errorf("victim %+v", v)
	}
	if s.Stats() != (adversary.Stats{Sent: 2, Bytes: 66}) {
		t.Errorf("stats %+v", s.Stats())
	}
}

// L-03: a flood has its rate, its end and its sources.
func TestFlooder(t *testing.T) {
	n := newTown(t)
	sources := map[netip.Addr]bool{}
	prefix := netip.MustParsePrefix("198.18.0.0/15")
	f := adversary.Flooder{
		Rate: 1500, Time: 2 * time.Second, To: server, From: adversary.Sources(1, prefix),
		Payload: func(i int, from netip.AddrPort) []byte {
			sources[from.Addr()] = true
			if !prefix.Contains(from.Addr()) || from.Port() < 1024 {
				t.Errorf("source %v", from)
			}
			return fmt.Appendf(nil, "%d", i)
		},
	}
	f.Attach(n.w, n.eve)
	n.run(time.Second)
	if got := f.Stats().Sent; got != 1500 {
		t.Errorf("%d after a second", got)
	}
	n.run(10 * time.Second)
	if got := f.Stats().Sent; got != 3000 || len(n.heard) != 3000 || len(sources) < 2900 {
		t.Errorf("%d sent, %d heard, from %d addresses", got, len(n.heard), len(sources))
	}
	endless := adversary.Flooder{Rate: 10, To: server, Payload: func(int, netip.AddrPort) []byte { return []byte("x") }}
	endless.Attach(n.w, n.eve)
	n.run(3 * time.Second)
	endless.Stop()
	n.run(3 * time.Second)
	if got := endless.Stats().Sent; got != 30 || n.heard[3000] != "198.51.100.66:40000 x" {
		t.Errorf("%d sent, the first %q", got, n.heard[3000])
	}
}

// Sources are the same each time, and none that cannot be a host's.
func TestSources(t *testing.T) {
	f, g := adversary.Sources(1, netip.MustParsePrefix("192.0.2.4/30")), adversary.Sources(2, netip.MustParsePrefix("192.0.2.4/30"))
	differ := false
	for i := range 100 {
		a := f(i)
		if a != f(i) || a.Addr() != addr("192.0.2.5") && a.Addr() != addr("192.0.2.6") {
			t.Errorf("%d: %v, then %v", i, a, f(i))
		}
		differ = differ || a != g(i)
	}
	if !differ {
		t.Error("the seed makes no difference")
	}
	for _, p := range []string{"2001:db8::/32", "192.0.2.0/31"} {
		if a := adversary.Sources(1, netip.MustParsePrefix(p))(0); a.IsValid() {
			t.Errorf("%s: %v", p, a)
		}
	}
}

// L-03: a slow loris keeps its conversations open at their pace, and sees
// answers if they come to its own ports.
func TestDripper(t *testing.T) {
	n := newTown(t)
	d := adversary.Dripper{
		Conversations: 10, Every: 10 * time.Second, To: server,
		Payload: func(c, step int, _ netip.AddrPort) []byte {
			if c == 9 && step == 2 {
				return nil
			}
			return fmt.Appendf(nil, "%d/%d", c, step)
		},
	}
	if err := d.Attach(n.w, n.eve); err != nil {
		t.Fatal(err)
	}
	n.run(35500 * time.Millisecond)
	if d.Open() != 9 || d.Stats().Sent != 35 || d.Stats().Seen != 35 {
		t.Errorf("%d open, %+v", d.Open(), d.Stats())
	}
	n.expect("second", n.heard[1:2], "198.51.100.66:20001 1/0")
	again := d
	if again.Attach(n.w, n.eve) == nil {
		t.Error("the same ports twice")
	}
	d.Stop()
	n.run(time.Minute)
	if d.Open() != 0 || d.Stats().Sent != 35 {
		t.Errorf("after Stop: %d open, %+v", d.Open(), d.Stats())
	}
}

// L-03: a rogue answers what it likes, when it likes, in whose name it likes.
func TestResponder(t *testing.T) {
	n := newTown(t)
	rogue := adversary.Responder{Answer: func(_ time.Time, from netip.AddrPort, b []byte) []adversary.Reply {
		return []adversary.Reply{{Payload: []byte("lie 1")}, {From: server, Payload: []byte("lie 2"), After: 2 * time.Second}}
	}}
	if err := rogue.Attach(n.w, n.eve, addrPort("192.0.2.1:53")); err == nil {
		t.Fatal("bound to an address that is not eve's")
	}
	if err := rogue.Attach(n.w, n.eve, netip.AddrPortFrom(netip.Addr{}, 53)); err != nil {
		t.Fatal(err)
	}
	n.port.SendTo(server, []byte("a"))
	n.port.SendTo(rogue.Local(), []byte("b"))
	n.run(time.Second)
	n.expect("alice", n.got, "198.51.100.1:3544 A", "198.51.100.66:53 lie 1")
	n.run(2 * time.Second)
	rogue.Say(adversary.Reply{To: netip.AddrPortFrom(public, 5000), Payload: []byte("out of the blue")})
	n.run(time.Second)
	n.expect("alice", n.got[2:], "198.51.100.1:3544 lie 2", "198.51.100.66:53 out of the blue")
	if s := rogue.Stats(); s.Seen != 1 || s.Sent != 3 {
		t.Errorf("%+v", s)
	}
}

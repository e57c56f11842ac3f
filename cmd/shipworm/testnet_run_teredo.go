package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strconv"
	"time"

	"shipworm/teredo"
	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
	"shipworm/testnet/scenario"
	"shipworm/testnet/sim"
)

type scenarioServer struct{}

func (scenarioServer) Simulate(t *scenario.Task) error {
	cfg := engine.ServerConfig{Primary: t.Node.Addr(), Seed: t.Seed}
	addrs := t.Program.Host.Addrs
	if len(addrs) > 1 {
		addrs = addrs[:2]
		cfg.Secondary = addrs[1]
	}
	server, err := engine.NewServer(cfg)
	if err != nil {
		return err
	}
	ports := make([]*sim.UDPPort, len(addrs))
	var out engine.ServerOutput
	for i, a := range addrs {
		ports[i], err = t.Node.BindUDPAddr(netip.AddrPortFrom(a, wire.Port), func(now time.Time, from netip.AddrPort, b []byte) {
			server.Receive(now, i, from, b, &out)
			for _, x := range out.Transmit {
				_ = ports[x.From].SendTo(x.To, x.Payload) // as lossy as UDP is
			}
			out.Reset()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (scenarioServer) Command(t *scenario.Task) ([]string, error) {
	argv := []string{"teredo", "server"}
	for i, a := range t.Program.Host.Addrs {
		if i < 2 {
			argv = append(argv, "--listen", a.String())
		}
	}
	return self(argv...)
}

func (scenarioServer) Line(*scenario.Task, string) {}

type scenarioClient struct{}

func (scenarioClient) Simulate(t *scenario.Task) error {
	_, err := newSimClient(t, nil)
	return err
}

func (scenarioClient) Command(t *scenario.Task) ([]string, error) {
	return self("teredo", "client", "--json", "--server", serverFlag(t))
}

// Line reads a line of `teredo client --json`.
func (scenarioClient) Line(t *scenario.Task, line string) {
	var c stateChange
	if json.Unmarshal([]byte(line), &c) != nil {
		return
	}
	switch c.Event {
	case engine.Qualified.String():
		t.Qualified(c.Address.Addr(), c.Address.Mapped())
	case engine.AddressLost.String():
		t.AddressLost()
	}
}

func serverFlag(t *scenario.Task) string {
	addrs := t.Program.Server.Addrs
	s := addrs[0].String()
	if len(addrs) > 1 {
		s += "," + addrs[1].String()
	}
	return s
}

type scenarioPing struct{}

// Simulate pings as the command does: from a client of its own, from the moment
// at which that has an address.
func (scenarioPing) Simulate(t *scenario.Task) error {
	id := uint16(t.Seed)
	var pinger *scenario.Pinger
	c, err := newSimClient(t, func(e wire.Echo) {
		if pinger != nil && e.Reply && e.ID == id {
			pinger.Answered(int(e.Seq))
		}
	})
	if err != nil {
		return err
	}
	c.onQualified = func() {
		if pinger == nil {
			data := make([]byte, t.Program.Size)
			pinger = scenario.NewPinger(t, func(seq int) { c.echo(false, t.Peer(), id, uint16(seq), data) })
		}
	}
	c.onUnreachable = func() {
		if pinger == nil {
			t.Exit(exitNegative, "no answer from the Teredo server")
		}
	}
	return nil
}

func (scenarioPing) Command(t *scenario.Task) ([]string, error) {
	p := t.Program
	seconds := func(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }
	return self("teredo", "ping", "--server", serverFlag(t), "-c", strconv.Itoa(p.Count),
		"-i", seconds(p.Interval), "-W", seconds(p.Wait), "-s", strconv.Itoa(p.Size), t.Peer().String())
}

// What `teredo ping` prints.
var (
	pingFrom   = regexp.MustCompile(`^PING \S+ from (\S+): `)
	pingAnswer = regexp.MustCompile(`^\d+ bytes from \S+: icmp_seq=(\d+) time=([0-9.]+) ms`)
	pingSum    = regexp.MustCompile(`^(\d+) packets transmitted`)
)

// Line reads a line of `teredo ping`.
func (scenarioPing) Line(t *scenario.Task, line string) {
	if m := pingFrom.FindStringSubmatch(line); m != nil {
		if a, err := teredo.ParseAddress(m[1]); err == nil {
			t.Qualified(a.Addr(), a.Mapped())
		}
	} else if m := pingAnswer.FindStringSubmatch(line); m != nil {
		seq, _ := strconv.Atoi(m[1])
		ms, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return
		}
		t.Sent(seq)
		t.Answer(time.Duration(ms * float64(time.Millisecond)))
	} else if m := pingSum.FindStringSubmatch(line); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			t.Sent(n)
		}
	}
}

// simClient is a Teredo client on a host of the simulation, with what its host
// does: it answers pings.
type simClient struct {
	t       *scenario.Task
	machine *engine.Client
	port    *sim.UDPPort
	out     engine.Output
	tick    time.Time

	onEcho        func(wire.Echo) // other than requests; may be nil
	onQualified   func()          // may be nil
	onUnreachable func()          // may be nil
}

func newSimClient(t *scenario.Task, onEcho func(wire.Echo)) (*simClient, error) {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], t.Seed)
	cfg := engine.ClientConfig{
		Server: t.Program.Server.Addrs[0],
		Policy: engine.Policy{Own: t.Program.Host.Addrs},
		Rand:   rand.NewChaCha8(key),
	}
	if in := t.Program.Host.Behind; in != nil {
		cfg.Policy.Inside = append(cfg.Policy.Inside, in.Lan)
	}
	if addrs := t.Program.Server.Addrs; len(addrs) > 1 {
		cfg.Secondary = addrs[1]
	}
	machine, err := engine.NewClient(cfg)
	if err != nil {
		return nil, err
	}
	c := &simClient{t: t, machine: machine, onEcho: onEcho}
	c.port, err = t.Node.BindUDP(0, func(now time.Time, from netip.AddrPort, b []byte) {
		c.machine.Receive(now, from, b, &c.out)
		c.settle()
	})
	if err != nil {
		return nil, fmt.Errorf("a port for the client: %w", err)
	}
	// The program gets its hooks before anything can happen.
	t.World.At(t.World.Now(), func() {
		c.machine.Start(t.World.Now(), &c.out)
		c.settle()
	})
	return c, nil
}

// settle does what a driver does after each call of the machine. What it does
// may call the machine again, so the output is taken first.
func (c *simClient) settle() {
	for _, x := range c.out.Transmit {
		_ = c.port.SendTo(x.To, x.Payload) // as lossy as UDP is
	}
	var echoes []wire.Echo
	var from []netip.Addr
	for _, b := range c.out.Deliver {
		p, err := wire.CheckPacket(b)
		if err != nil {
			continue
		}
		if e, err := wire.ParseEcho(p); err == nil {
			e.Data = append([]byte(nil), e.Data...)
			echoes, from = append(echoes, e), append(from, p.Source())
		}
	}
	events := append([]engine.Event(nil), c.out.Events...)
	c.out.Reset()
	for _, e := range events {
		c.event(e)
	}
	for i, e := range echoes {
		if !e.Reply {
			c.echo(true, from[i], e.ID, e.Seq, e.Data)
		} else if c.onEcho != nil {
			c.onEcho(e)
		}
	}
	next := c.machine.Next()
	if next.IsZero() || next.Equal(c.tick) {
		return
	}
	c.tick = next
	c.t.World.At(next, func() {
		if c.tick.Equal(next) {
			c.tick = time.Time{}
			c.machine.Tick(c.t.World.Now(), &c.out)
			c.settle()
		}
	})
}

func (c *simClient) event(e engine.Event) {
	switch e.Kind {
	case engine.Qualified:
		c.t.Qualified(e.Address.Addr(), e.Address.Mapped())
		if c.onQualified != nil {
			c.onQualified()
		}
	case engine.AddressLost:
		c.t.AddressLost()
	case engine.ServerUnreachable:
		if c.onUnreachable != nil {
			c.onUnreachable()
		}
	}
}

// echo sends an echo message from the client's address, if it has one.
func (c *simClient) echo(reply bool, to netip.Addr, id, seq uint16, data []byte) {
	own := c.machine.Snapshot().Address
	if !own.IsValid() || !to.IsValid() {
		return
	}
	b, err := wire.AppendEcho(nil, &wire.Echo{Src: own.Addr(), Dst: to, HopLimit: 64, Reply: reply, ID: id, Seq: seq, Data: data})
	if err != nil {
		return
	}
	c.machine.Send(c.t.World.Now(), b, &c.out)
	c.settle()
}

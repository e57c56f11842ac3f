package scenario

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"shipworm/testnet/adversary"
	"shipworm/testnet/firewall"
	"shipworm/testnet/igd/install"
	"shipworm/testnet/invariant"
	"shipworm/testnet/link"
	"shipworm/testnet/sim"
)

// epoch is when simulations start.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// skippedInSimulation is why other programs are.
const skippedInSimulation = "it is a program of this machine, which cannot run in virtual time: use the laboratory"

// Simulate runs a scenario in virtual time, in this goroutine. An expectation
// that fails is no error: it is in the result. An error is a program or event
// that could not be carried out, a breach of testnet/invariant, or ctx's.
func Simulate(ctx context.Context, s *Scenario, opts Options) (*Result, error) {
	r := newRun(s, opts)
	w := sim.New(r.seed, epoch)
	v := &virtual{run: r, world: w, hosts: map[*Node]*sim.Host{}, routers: map[*Node]*sim.Router{}, igds: map[*Node]*install.Simulated{}}
	r.stage = v
	r.watch(w)
	invariants := invariant.Observe(w, invariant.Config{})
	if err := s.build(v.add); err != nil {
		return nil, err
	}
	r.skip(func(p *Program) string {
		if p.Kind == Other {
			return skippedInSimulation
		}
		return ""
	})
	r.begin()
	end := epoch.Add(s.Limit)
	for steps := 0; !r.over; steps++ {
		next, ok := w.Next()
		if !ok || next.After(end) {
			r.now = s.Limit
			break
		}
		w.Advance(next)
		if steps%1024 == 0 && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	if err := cmp.Or(r.err, invariants.Err()); err != nil {
		return nil, err
	}
	return r.result("simulation"), nil
}

// build adds the nodes, each after the NAT that it is behind.
func (s *Scenario) build(add func(*Node) error) error {
	done := map[*Node]bool{nil: true}
	for len(done) <= len(s.Nodes) {
		for _, n := range s.Nodes {
			if done[n] || !done[n.Behind] {
				continue
			}
			if err := add(n); err != nil {
				return fmt.Errorf("line %d: %s: %w", n.at.line, n.Name, err)
			}
			done[n] = true
		}
	}
	return nil
}

// virtual is the stage of a simulation.
type virtual struct {
	run     *run
	world   *sim.World
	hosts   map[*Node]*sim.Host
	routers map[*Node]*sim.Router
	igds    map[*Node]*install.Simulated
}

func (v *virtual) add(n *Node) (err error) {
	in := v.routers[n.Behind]
	switch {
	case n.IsNAT() && in == nil:
		v.routers[n], err = v.world.Router(n.Name, *n.NAT, n.Line)
	case n.IsNAT():
		v.routers[n], err = in.Router(n.Name, *n.NAT, n.Line)
	case in == nil:
		v.hosts[n], err = v.world.Host(n.Name, n.Line, n.all()...)
	default:
		v.hosts[n], err = in.Host(n.Name, n.Line, n.Addrs[0], n.Addrs6...)
	}
	if err != nil || !n.IsNAT() {
		return err
	}
	r, gateway := v.routers[n], n.Lan.Addr().Next()
	if n.Firewall != nil {
		f, err := firewall.New(*n.Firewall)
		if err != nil {
			return err
		}
		r.SetFirewall(f)
	}
	err = errors.Join(r.SetGateway(gateway), r.Delegate(n.Prefix))
	if err == nil && n.IGD.Name != "" {
		v.igds[n], err = install.Sim(v.world, r, gateway, igdHost(n), n.IGD)
	}
	return err
}

// igdHost names the host that a NAT's mapping protocols run on.
func igdHost(n *Node) string { return n.Name + "-igd" }

func (v *virtual) elapsed() time.Duration { return v.world.Now().Sub(epoch) }

func (v *virtual) at(d time.Duration, f func()) {
	v.world.At(epoch.Add(d), func() {
		v.run.now = v.elapsed()
		f()
	})
}

func (v *virtual) report(f func(time.Duration)) { f(v.elapsed()) }

func (v *virtual) setLine(n *Node, c link.Config) error {
	if n.IsNAT() {
		return v.routers[n].SetLink(c)
	}
	return v.hosts[n].SetLink(c)
}

func (v *virtual) router(n *Node, f func(*sim.Router) error) error {
	err := f(v.routers[n])
	if d := v.igds[n]; d != nil {
		d.Advance() // its address may be another
	}
	return err
}

func (v *virtual) tap(n *Node, f func(*sim.World, adversary.Line) error) error {
	if n.IsNAT() {
		return f(v.world, v.routers[n])
	}
	return f(v.world, v.hosts[n])
}

func (v *virtual) restart(n *Node) error {
	if d := v.igds[n]; d != nil {
		d.Reboot()
	}
	return nil
}

func (v *virtual) launch(t *Task) error {
	t.World, t.Node = v.world, v.hosts[t.Program.Host]
	switch t.Program.Kind {
	case UDPEcho:
		return simulateEcho(t)
	case UDPPing:
		return simulatePing(t)
	}
	p, ok := v.run.opts.Programs[t.Program.Kind]
	if !ok {
		return fmt.Errorf("nobody implements %s", t.Program.Kind)
	}
	return p.Simulate(t)
}

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// scratch is the directory for files that programs want.
const scratch = "/run"

// An end is one of the two ends of a path.
type end struct {
	ns      *netns
	address string
	load    *process // what sends or takes load here
	tunnel  *process // what carries the packets here; nil for the kernel
	stack   bool     // whether load is our userspace stack
}

// A path is a way for packets that is there, or failed to be.
type path struct {
	id       string
	from, to end
	err      error // why it is not there
	failures int   // in a row
}

// A stage is the world with every program in it that is measured. All of them
// run all the time, and rest while it is another's turn.
type stage struct {
	*world
	cfg     *config
	say     func(format string, args ...any) // progress
	paths   map[string]*path                 // by id
	missing []string                         // what was left out, and why
	notes   []string                         // what the reader of the table must know
	started []*process

	serverCPU, floodCPU int                 // processors of servers and of the load on them
	loadA, loadB, loadN *process            // on the kernels of a, b and n
	flood               *process            // load on servers
	tuns, stacks        [2]end              // of ours
	miredos             [2]end              // clients
	serving             map[string]*serving // servers under load, by id
}

// A serving server has its address in the same machine as others.
type serving struct {
	address string
	process *process
	sources int64 // that asked it
}

// A step starts what paths consist of. One that fails takes its paths with it,
// and no others.
type step struct {
	what  string
	paths []string
	start func(context.Context) error
}

func (s *stage) steps() []step {
	return []step{
		{"the load on servers", []string{"server", "miredo-server"}, s.startFlood},
		{"our server", []string{"server", "tun", "stack", "stack-tun", "tun-stack", "tun-plain", "relay-out", "relay-in"}, s.ourServer},
		{"our clients, TUN", []string{"tun", "stack-tun", "tun-stack", "relay-out", "relay-in"}, s.ourTUNs},
		{"our clients, plain device", []string{"tun-plain"}, s.ourPlainTUNs},
		{"our clients, userspace stack", []string{"stack", "stack-tun", "tun-stack"}, s.ourStacks},
		{"our relay", []string{"relay-out", "relay-in"}, s.ourRelay},
		{"Miredo's server", []string{"miredo-server", "miredo", "miredo-out", "miredo-in"}, s.miredoServer},
		{"Miredo's clients", []string{"miredo", "miredo-out", "miredo-in"}, s.miredoClients},
		{"Miredo's relay", []string{"miredo-out", "miredo-in"}, s.miredoRelay},
		{"the naive tunnel", []string{"naive"}, s.naive},
		{"UDP runs", []string{"runs"}, s.runs},
		{"the kernel's paths", []string{"vxlan", "line"}, s.kernel},
	}
}

// newStage starts what the configuration asks for. An error is that of the
// network itself; what else fails is a path's.
func newStage(ctx context.Context, c *config, say func(format string, args ...any)) (*stage, error) {
	s := &stage{cfg: c, say: say, paths: map[string]*path{}, serving: map[string]*serving{}}
	for _, k := range kinds {
		if c.takes(k.id) {
			s.paths[k.id] = &path{id: k.id}
		}
	}
	var err error
	if s.serverCPU, s.floodCPU, err = twoProcessors(); err != nil {
		return nil, err
	}
	if s.world, err = newWorld(ctx); err != nil {
		return nil, err
	}
	// Nothing that is written here outlives the mount namespace, nor meets a
	// Teredo of the machine's own.
	if err := unix.Mount("speed", scratch, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=4m,mode=755"); err != nil {
		return nil, fmt.Errorf("mount %s: %w", scratch, err)
	}
	for _, h := range []struct {
		ns   *netns
		load **process
	}{{s.a, &s.loadA}, {s.b, &s.loadB}, {s.n, &s.loadN}} {
		if *h.load, err = s.agent(ctx, h.ns, -1, "kernel"); err != nil {
			s.close()
			return nil, err
		}
	}
	for _, st := range s.steps() {
		if err := s.take(ctx, st); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

// A leftOutError is no failure: the machine does not have what a path needs.
type leftOutError struct{ error }

// take takes a step if a path needs it. It fails only with ctx.
func (s *stage) take(ctx context.Context, st step) error {
	var needed []*path
	for _, id := range st.paths {
		if p := s.paths[id]; p != nil && p.err == nil {
			needed = append(needed, p)
		}
	}
	if len(needed) == 0 {
		return nil
	}
	s.say("start %s", st.what)
	err := st.start(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil {
		return nil
	}
	s.say("%s: %v", st.what, err)
	var out leftOutError
	if errors.As(err, &out) {
		s.missing = append(s.missing, err.Error())
	}
	for _, p := range needed {
		p.err = fmt.Errorf("%s: %w", st.what, err)
	}
	return nil
}

// set says between which ends a path lies, if it is wanted.
func (s *stage) set(id string, from, to end) {
	if p := s.paths[id]; p != nil {
		p.from, p.to = from, to
	}
}

// close ends all programs, at the same time.
func (s *stage) close() {
	var all sync.WaitGroup
	for _, p := range s.started {
		all.Go(p.stop)
	}
	all.Wait()
}

// agent starts an agent that ends with the stage.
func (s *stage) agent(ctx context.Context, ns *netns, pin int, role string, args ...string) (*process, error) {
	p, err := ns.agent(ctx, pin, role, args...)
	if err == nil {
		s.started = append(s.started, p)
	}
	return p, err
}

func (s *stage) foreign(ctx context.Context, ns *netns, pin int, argv ...string) (*process, error) {
	p, err := ns.foreign(ctx, pin, nil, argv...)
	if err == nil {
		s.started = append(s.started, p)
	}
	return p, err
}

// startFlood starts the load on servers.
func (s *stage) startFlood(ctx context.Context) (err error) {
	s.flood, err = s.agent(ctx, s.a, s.floodCPU, "flood")
	return err
}

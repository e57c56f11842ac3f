//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sys/unix"
)

// Names of the interfaces.
const (
	oursTUN   = "ours"
	miredoTUN = "miredo"
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

// A path is a way for packets, with a tunnel or without.
type path struct {
	name     string
	uso      bool // whether the line takes UDP runs whole
	from, to end
}

// A stage is the world with every program in it that is measured. All of them
// run all the time, and rest while it is another's turn.
type stage struct {
	*world
	paths   []path
	missing []string // what was left out, and why
	started []*process

	loadA, loadB, loadN *process  // on the kernels of a, b and n
	flood               *process  // load on servers
	serving             []serving // those servers
	notes               []string  // what the reader of the table must know
}

// A serving server has its address in the same machine as others.
type serving struct {
	name, address string
	process       *process
}

func newStage(ctx context.Context) (*stage, error) {
	w, err := newWorld(ctx)
	if err != nil {
		return nil, err
	}
	s := &stage{world: w}
	// Nothing that is written here outlives the mount namespace, nor meets a
	// Teredo of the machine's own.
	if err := unix.Mount("speed", scratch, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=4m,mode=755"); err != nil {
		return nil, fmt.Errorf("mount %s: %w", scratch, err)
	}
	if err := s.fill(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *stage) close() {
	for _, p := range s.started {
		p.stop()
	}
}

// agent starts an agent that ends with the stage.
func (s *stage) agent(ctx context.Context, ns *netns, pin int, role string, args ...string) (*process, error) {
	p, err := ns.agent(ctx, pin, role, args...)
	if err == nil {
		s.started = append(s.started, p)
	}
	return p, err
}

func (s *stage) foreign(ctx context.Context, ns *netns, name string, args ...string) (*process, error) {
	p, err := ns.foreign(ctx, name, args...)
	if err == nil {
		s.started = append(s.started, p)
	}
	return p, err
}

// fill starts the programs and says which paths there are.
func (s *stage) fill(ctx context.Context) error {
	for _, h := range []struct {
		ns   *netns
		load **process
	}{{s.a, &s.loadA}, {s.b, &s.loadB}, {s.n, &s.loadN}} {
		p, err := s.agent(ctx, h.ns, -1, "kernel")
		if err != nil {
			return err
		}
		*h.load = p
	}
	var err error
	if s.flood, err = s.agent(ctx, s.a, floodCPU, "flood"); err != nil {
		return err
	}
	for _, part := range []func(context.Context) error{s.ours, s.miredo, s.naive, s.kernel} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// ours starts our server, clients and relay.
func (s *stage) ours(ctx context.Context) error {
	srv, err := s.agent(ctx, s.s, serverCPU, "server")
	if err != nil {
		return err
	}
	s.serving = append(s.serving, serving{nameServer, server, srv})
	ends := [2]end{{ns: s.a, load: s.loadA}, {ns: s.b, load: s.loadB}}
	for i, ns := range []*netns{s.a, s.b} {
		p, err := s.agent(ctx, ns, -1, "tun", oursTUN)
		if err != nil {
			return err
		}
		ends[i].address, ends[i].tunnel = p.address, p
		if err := ns.shell(ctx, "ip route add %s dev %s", oursPrefix, oursTUN); err != nil {
			return err
		}
	}
	var stacks [2]end
	for i, ns := range []*netns{s.a, s.b} {
		p, err := s.agent(ctx, ns, -1, "stack")
		if err != nil {
			return err
		}
		stacks[i] = end{ns, p.address, p, p, true}
	}
	relay, err := s.agent(ctx, s.r, -1, "relay")
	if err != nil {
		return err
	}
	node, err := s.relayed(ctx, relay, oursTUN, oursPrefix, nodeOurs)
	if err != nil {
		return err
	}
	s.paths = append(s.paths,
		path{nameTUN, true, ends[0], ends[1]},
		path{nameStack, true, stacks[0], stacks[1]},
		path{nameTUNStack, true, ends[0], stacks[1]},
		path{nameStackTUN, true, stacks[0], ends[1]},
		path{nameRelayOut, true, ends[0], node},
		path{nameRelayIn, true, node, ends[0]},
		path{nameTUNPlain, false, ends[0], ends[1]},
		path{nameStackPlain, false, stacks[0], stacks[1]})
	return nil
}

// relayed leads one address of the native node through a relay, whose
// interface is named, and the client's own. It returns that end.
func (s *stage) relayed(ctx context.Context, relay *process, name, clients, node string) (end, error) {
	err := s.r.shell(ctx, "ip route add %s dev %s", clients, name)
	if err == nil {
		err = s.a.shell(ctx, "ip route add %s dev %s", node, name)
	}
	return end{ns: s.n, address: node, load: s.loadN, tunnel: relay}, err
}

// miredo starts Miredo's server, clients and relay.
func (s *stage) miredo(ctx context.Context) error {
	for _, name := range []string{"miredo", "miredo-server"} {
		if _, err := exec.LookPath(name); err != nil {
			s.missing = append(s.missing, "Miredo: "+err.Error())
			return nil
		}
	}
	if os.Geteuid() != 0 {
		s.missing = append(s.missing, "Miredo: it needs root")
		return nil
	}
	srv, err := s.miredoProgram(ctx, s.s, serverCPU, "miredo-server",
		"ServerBindAddress %s\nServerBindAddress2 %s\n", miredoServer, miredoServer2)
	if err != nil {
		return err
	}
	s.serving = append(s.serving, serving{nameMiredoServer, miredoServer, srv})
	ends := [2]end{{ns: s.a, load: s.loadA}, {ns: s.b, load: s.loadB}}
	for i, ns := range []*netns{s.a, s.b} {
		p, err := s.miredoProgram(ctx, ns, -1, "miredo",
			"RelayType client\nInterfaceName %s\nServerAddress %s\nBindPort 3610\n", miredoTUN, miredoServer)
		if err != nil {
			return err
		}
		address, err := ns.waitTeredo(ctx, miredoTUN)
		if err != nil {
			return p.blame(err)
		}
		ends[i].address, ends[i].tunnel = address, p
		if err := ns.shell(ctx, "ip route add %s dev %s", miredoPrefix, miredoTUN); err != nil {
			return err
		}
	}
	relay, err := s.miredoProgram(ctx, s.r, -1, "miredo",
		"RelayType cone\nInterfaceName %s\nBindAddress %s\nBindPort 3546\n", miredoTUN, addrR)
	if err != nil {
		return err
	}
	if err := s.r.waitLink(ctx, miredoTUN); err != nil {
		return relay.blame(err)
	}
	node, err := s.relayed(ctx, relay, miredoTUN, miredoPrefix, nodeMiredo)
	if err != nil {
		return err
	}
	s.paths = append(s.paths,
		path{nameMiredo, true, ends[0], ends[1]},
		path{nameMiredoRelayOut, true, ends[0], node},
		path{nameMiredoRelayIn, true, node, ends[0]},
		path{nameMiredoPlain, false, ends[0], ends[1]})
	return nil
}

func (s *stage) miredoProgram(ctx context.Context, ns *netns, pin int, program, conf string, args ...any) (*process, error) {
	base := filepath.Join(scratch, ns.name+"-"+program)
	if err := os.WriteFile(base+".conf", fmt.Appendf(nil, conf, args...), 0o644); err != nil {
		return nil, err
	}
	argv := []string{program, "-f", "-c", base + ".conf", "-p", base + ".pid", "-u", program}
	if pin >= 0 {
		argv = append([]string{"taskset", "-c", fmt.Sprint(pin)}, argv...)
	}
	return s.foreign(ctx, ns, argv[0], argv[1:]...)
}

var teredoAddress = regexp.MustCompile(`inet6 (2001:0:[0-9a-f:]+)/`)

// waitLink waits until an interface is up.
func (ns *netns) waitLink(ctx context.Context, name string) error {
	_, err := ns.wait(ctx, name, regexp.MustCompile(`inet6 `))
	return err
}

// waitTeredo waits until an interface has a Teredo address.
func (ns *netns) waitTeredo(ctx context.Context, name string) (string, error) {
	return ns.wait(ctx, name, teredoAddress)
}

func (ns *netns) wait(ctx context.Context, name string, pattern *regexp.Regexp) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, qualifyWithin)
	defer cancel()
	for {
		out, err := ns.run(ctx, "ip", "-6", "address", "show", "dev", name)
		if m := pattern.FindStringSubmatch(out); m != nil {
			return m[len(m)-1], nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%s: no address on %s: %w", ns.name, name, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *stage) naive(ctx context.Context) error {
	a, err := s.agent(ctx, s.a, -1, "naive", addrA, addrB, naiveA)
	if err != nil {
		return err
	}
	b, err := s.agent(ctx, s.b, -1, "naive", addrB, addrA, naiveB)
	if err != nil {
		return err
	}
	from, to := end{s.a, naiveA, s.loadA, a, false}, end{s.b, naiveB, s.loadB, b, false}
	s.paths = append(s.paths, path{nameNaive, true, from, to}, path{nameNaivePlain, false, from, to})
	return nil
}

func (s *stage) kernel(context.Context) error {
	s.paths = append(s.paths,
		path{nameVXLAN, true, end{ns: s.a, address: vxlanA, load: s.loadA}, end{ns: s.b, address: vxlanB, load: s.loadB}},
		path{nameLine, true, end{ns: s.a, address: plainA, load: s.loadA}, end{ns: s.b, address: plainB, load: s.loadB}})
	return nil
}

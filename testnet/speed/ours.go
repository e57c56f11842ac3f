//go:build linux

package main

import "context"

// Names of our interfaces.
const (
	oursTUN  = "ours"
	plainTUN = "plain"
)

func (s *stage) ourServer(ctx context.Context) error {
	p, err := s.agent(ctx, s.s, s.serverCPU, "server")
	if err == nil {
		s.serving["server"] = &serving{address: server, process: p}
	}
	return err
}

func (s *stage) ourTUNs(ctx context.Context) (err error) {
	if s.tuns, err = s.startTUNs(ctx, oursTUN); err != nil {
		return err
	}
	for _, e := range s.tuns {
		// Another Teredo of this machine has a route as good as this one's.
		if err := e.ns.shell(ctx, "ip route del 2001::/32 dev %s; ip route add %s dev %[1]s", oursTUN, oursPrefix); err != nil {
			return err
		}
	}
	s.set("tun", s.tuns[0], s.tuns[1])
	return nil
}

// ourPlainTUNs starts clients on the device that every system has, which moves
// one packet a system call.
func (s *stage) ourPlainTUNs(ctx context.Context) error {
	ends, err := s.startTUNs(ctx, plainTUN)
	if err != nil {
		return err
	}
	for i, e := range ends {
		if err := e.ns.shell(ctx, "ip route add %s dev %s", ends[1-i].address, plainTUN); err != nil {
			return err
		}
	}
	s.set("tun-plain", ends[0], ends[1])
	return nil
}

func (s *stage) startTUNs(ctx context.Context, name string) (ends [2]end, err error) {
	ends = s.kernels()
	for i := range ends {
		e := &ends[i]
		if e.tunnel, err = s.agent(ctx, e.ns, -1, "tun", name); err != nil {
			return ends, err
		}
		e.address = e.tunnel.address
	}
	return ends, nil
}

// kernels returns the ends a and b with the load on their kernels.
func (s *stage) kernels() [2]end {
	return [2]end{{ns: s.a, load: s.loadA}, {ns: s.b, load: s.loadB}}
}

func (s *stage) ourStacks(ctx context.Context) error {
	for i, ns := range []*netns{s.a, s.b} {
		p, err := s.agent(ctx, ns, -1, "stack")
		if err != nil {
			return err
		}
		s.stacks[i] = end{ns, p.address, p, p, true}
	}
	s.set("stack", s.stacks[0], s.stacks[1])
	s.set("stack-tun", s.stacks[0], s.tuns[1])
	s.set("tun-stack", s.tuns[0], s.stacks[1])
	return nil
}

func (s *stage) ourRelay(ctx context.Context) error {
	relay, err := s.agent(ctx, s.r, -1, "relay")
	if err != nil {
		return err
	}
	node, err := s.relayed(ctx, relay, oursTUN, oursPrefix, nodeOurs)
	if err != nil {
		return err
	}
	s.set("relay-out", s.tuns[0], node)
	s.set("relay-in", node, s.tuns[0])
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

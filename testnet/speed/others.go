//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"
)

// miredoTUN is the name of Miredo's interfaces.
const miredoTUN = "miredo"

func (s *stage) miredoServer(ctx context.Context) error {
	for _, name := range []string{"miredo", "miredo-server"} {
		if _, err := exec.LookPath(name); err != nil {
			return leftOutError{fmt.Errorf("Miredo: %w", err)}
		}
	}
	if os.Geteuid() != 0 {
		return leftOutError{errors.New("Miredo: it needs root")}
	}
	p, err := s.miredoProgram(ctx, s.s, s.serverCPU, "miredo-server",
		"ServerBindAddress %s\nServerBindAddress2 %s\n", miredoServer, miredoServer2)
	if err == nil {
		s.serving["miredo-server"] = &serving{address: miredoServer, process: p}
	}
	return err
}

func (s *stage) miredoClients(ctx context.Context) (err error) {
	s.miredos = s.kernels()
	for i := range s.miredos {
		e := &s.miredos[i]
		if e.tunnel, e.address, err = s.miredoClient(ctx, e.ns); err != nil {
			return err
		}
	}
	s.set("miredo", s.miredos[0], s.miredos[1])
	return nil
}

// miredoClient starts a client and waits for its address.
func (s *stage) miredoClient(ctx context.Context, ns *netns) (*process, string, error) {
	p, err := s.miredoProgram(ctx, ns, -1, "miredo",
		"RelayType client\nInterfaceName %s\nServerAddress %s\nBindPort 3610\n", miredoTUN, miredoServer)
	if err != nil {
		return nil, "", err
	}
	address, err := ns.waitTeredo(ctx, miredoTUN)
	if err == nil {
		err = ns.shell(ctx, "ip route add %s dev %s", miredoPrefix, miredoTUN)
	}
	if err != nil {
		return nil, "", p.blame(err)
	}
	return p, address, nil
}

func (s *stage) miredoRelay(ctx context.Context) error {
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
	s.set("miredo-out", s.miredos[0], node)
	s.set("miredo-in", node, s.miredos[0])
	return nil
}

func (s *stage) miredoProgram(ctx context.Context, ns *netns, pin int, program, conf string, args ...any) (*process, error) {
	base := filepath.Join(scratch, ns.name+"-"+program)
	if err := os.WriteFile(base+".conf", fmt.Appendf(nil, conf, args...), 0o644); err != nil {
		return nil, err
	}
	return s.foreign(ctx, ns, pin, program, "-f", "-c", base+".conf", "-p", base+".pid", "-u", program)
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
	s.set("naive", end{s.a, naiveA, s.loadA, a, false}, end{s.b, naiveB, s.loadB, b, false})
	return nil
}

func (s *stage) runs(ctx context.Context) error {
	a, err := s.agent(ctx, s.a, -1, "runs", addrA, addrB)
	if err != nil {
		return err
	}
	b, err := s.agent(ctx, s.b, -1, "runs", addrB, addrA)
	if err != nil {
		return err
	}
	s.set("runs", end{s.a, addrA, a, a, false}, end{s.b, addrB, b, b, false})
	return nil
}

func (s *stage) kernel(context.Context) error {
	s.set("vxlan", end{ns: s.a, address: vxlanA, load: s.loadA}, end{ns: s.b, address: vxlanB, load: s.loadB})
	s.set("line", end{ns: s.a, address: plainA, load: s.loadA}, end{ns: s.b, address: plainB, load: s.loadB})
	return nil
}

// addressWithin bounds the wait for an address on an interface.
const addressWithin = 15 * time.Second

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
	for end := time.Now().Add(addressWithin); ; {
		out, err := ns.run(ctx, "ip", "-6", "address", "show", "dev", name)
		if m := pattern.FindStringSubmatch(out); m != nil {
			return m[len(m)-1], nil
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if time.Now().After(end) {
			if err == nil {
				err = errors.New("it has none")
			}
			return "", fmt.Errorf("%s: no address on %s within %v: %w", ns.name, name, addressWithin, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

package lab

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"shipworm/testnet/link"
	"shipworm/testnet/sim"
)

// LANs have networks of these sizes.
const (
	lanBits  = 24
	lanBits6 = 64
)

// A Host is a network namespace with one interface. Any number of programs may
// run in it at once.
type Host struct {
	lab   *Lab
	name  string
	addrs []netip.Addr
	ns    *namespace
	sim   *sim.Host
}

// host makes the namespace and joins it to the host that place adds to the
// world. With valid gateways it is on a LAN.
func (l *Lab) host(name string, addrs []netip.Addr, gateway, gateway6 netip.Addr, line link.Config, place func() (*sim.Host, error)) (*Host, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return nil, fmt.Errorf("lab: host %s: %w", name, net.ErrClosed)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("lab: host %s: no address", name)
	}
	for _, a := range addrs {
		if !a.IsValid() || a == gateway || a == gateway6 {
			return nil, fmt.Errorf("lab: host %s: address %v is not usable", name, a)
		}
	}
	l.hub.mu.Lock()
	if !perfect(line) {
		l.hub.impair()
	}
	node, err := place()
	l.hub.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	ns, err := newNamespace()
	if err != nil {
		return nil, err
	}
	h := &Host{lab: l, name: name, addrs: addrs, ns: ns, sim: node}
	var dev *device
	err = ns.do(func() error {
		if dev, err = openTUN(); err != nil {
			return err
		}
		return configure(addrs, gateway, gateway6)
	})
	if err == nil {
		err = l.hub.attach(node, dev)
	}
	if err != nil {
		if dev != nil {
			dev.close()
		}
		ns.file.Close()
		return nil, fmt.Errorf("host %s: %w", name, err)
	}
	l.hosts = append(l.hosts, h)
	names := make([]hostName, 0, len(l.hosts))
	for _, h := range l.hosts {
		for _, is := range []func(netip.Addr) bool{netip.Addr.Is4, netip.Addr.Is6} {
			if i := slices.IndexFunc(h.addrs, is); i >= 0 {
				names = append(names, hostName{h.name, h.addrs[i], h.ns.file.Fd()})
			}
		}
	}
	if err := writeHosts(names); err != nil {
		l.log.Warn("names of hosts will not resolve", "err", err)
	}
	l.log.Debug("host", "name", name, "addrs", addrs)
	return h, nil
}

// Name returns the host's name.
func (h *Host) Name() string { return h.name }

// Addr returns the host's first address.
func (h *Host) Addr() netip.Addr { return h.addrs[0] }

// Addrs returns a copy of the addresses that the host was given.
func (h *Host) Addrs() []netip.Addr { return slices.Clone(h.addrs) }

// Change calls f with the simulated host, to change its line while programs
// run. f is called under the laboratory's lock: it must be quick and may not
// call the laboratory. From then on every packet crosses the lines by itself,
// see [Lab].
func (h *Host) Change(f func(*sim.Host) error) error {
	return h.lab.Change(func(*sim.World) error { return f(h.sim) })
}

// Do runs f in the host's network namespace and returns its error. Sockets that
// f opens stay in the host and can be used from anywhere. Goroutines that f
// starts are not in the host, nor is what they open: a server's listener is to
// be made in f, a dialler that races addresses should be run without that.
func (h *Host) Do(f func() error) error { return h.ns.do(f) }

// Netns returns a path that names the host's network namespace while the
// laboratory is open, for tools that enter one by path:
//
//	nsenter --net=PATH program args...
func (h *Host) Netns() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), h.ns.file.Fd())
}

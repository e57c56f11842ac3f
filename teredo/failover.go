package teredo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"shipworm/teredo/engine"
)

// failoverPause is the least time between two changes of the server once each
// was tried. A change begins a new series of solicitations, so that a client
// whose servers are all silent sends some 2,000 a day, to all of them together;
// with one server it sends the 310 of requirement TR-06.
const failoverPause = 300 * time.Second

// ServerName names a Teredo server.
type ServerName struct {
	Primary   string // host name or IPv4 address
	Secondary string // of its second address; empty for none
}

// check reports every problem of n.
func (n ServerName) check() error {
	var errs []error
	if n.Primary == "" {
		errs = append(errs, errors.New("no server"))
	}
	for _, s := range []string{n.Primary, n.Secondary} {
		if a, err := netip.ParseAddr(s); err == nil && !a.Unmap().Is4() {
			errs = append(errs, fmt.Errorf("server %s: not an IPv4 address", s))
		}
	}
	if n.Secondary != "" && n.Secondary == n.Primary {
		errs = append(errs, fmt.Errorf("secondary server %s: not another one", n.Secondary))
	}
	return errors.Join(errs...)
}

// named reports whether there is anything to look up.
func (n ServerName) named() bool {
	return slices.ContainsFunc([]string{n.Primary, n.Secondary}, func(s string) bool {
		_, err := netip.ParseAddr(s)
		return err != nil && s != ""
	})
}

// servers are all that are configured, in the order of trying.
func (c *Client) servers() []ServerName {
	return append([]ServerName{{c.cfg.Server, c.cfg.Secondary}}, c.cfg.Fallback...)
}

// rotation is where a client stands in its list of servers.
type rotation struct {
	list   []ServerName
	inUse  int
	cursor int       // tried last
	tried  int       // since an answer, or a change of the network; at least 1
	turned time.Time // last change
}

// more reports whether there are servers that this round has not tried.
func (t *rotation) more() bool { return t.tried < len(t.list) }

// next returns the server to try if the one in use does not answer, which may
// be that one.
func (t *rotation) next(now time.Time) int {
	if len(t.list) > 1 && (t.more() || now.Sub(t.turned) >= failoverPause) {
		return (t.cursor + 1) % len(t.list)
	}
	return t.inUse
}

// found is a machine for a server, or nil with why there is none, if that is
// known.
type found struct {
	machine *engine.Client
	which   int
	err     error
}

// firstServer makes the machine for the first server that can be resolved.
func (r *running) firstServer(ctx context.Context) (err error) {
	t := &r.servers
	t.list, t.turned = r.c.servers(), time.Now()
	for i, n := range t.list {
		var e error
		if r.machine, e = r.c.resolve(ctx, r.policy, n, netip.Addr{}); e == nil {
			t.inUse, t.cursor, t.tried = i, i, i+1
			return nil
		}
		if err == nil || ctx.Err() != nil {
			err = e
		}
	}
	return err
}

// seekServer looks for another server while the one in use is silent, at most
// once for each solicitation and so at the pace of the back-off, beside the
// packets: the server may have moved, its name leading elsewhere, and without
// an address to lose the next of the list gets its turn. The lookup may hang.
func (r *running) seekServer(ctx context.Context) {
	s := r.machine.Snapshot()
	silent := s.State == engine.Unreachable || s.State == engine.Offline
	if !silent || s.Solicitations == r.asked || r.resolving {
		return
	}
	which := r.servers.inUse
	if s.State == engine.Offline {
		which = r.servers.next(time.Now())
	}
	name, inUse := r.servers.list[which], s.Server
	if which != r.servers.inUse {
		inUse = netip.Addr{}
	} else if !name.named() {
		return
	}
	r.asked, r.resolving = s.Solicitations, true
	policy := r.policy
	r.helpers.Go(func() {
		m, err := r.c.resolve(ctx, policy, name, inUse)
		if err != nil {
			r.c.log.Warn("look up a server", "err", err)
		}
		r.resolved <- found{m, which, err} // one at a time, so there is room
	})
}

// replace goes over to a machine for another server, if there is one. As long
// as the old one holds an address, peers may be using it.
func (r *running) replace(f found) {
	r.resolving = false
	t := &r.servers
	if f.which != t.inUse {
		t.cursor, t.turned = f.which, time.Now()
		t.tried++
	}
	old := r.machine.Snapshot()
	if f.machine == nil || old.Address.IsValid() {
		if q := new(QualifyError); errors.As(f.err, &q) && !t.more() && !old.Address.IsValid() {
			r.c.set(func() { r.c.failure = q })
		}
		return
	}
	for port := range r.extra { // the new machine knows nothing of them
		r.own.out.Close = append(r.own.out.Close, port)
	}
	r.c.log.Info("another server", "from", old.Server, "to", f.machine.Snapshot().Server)
	r.machine, r.asked, t.inUse = f.machine, 0, f.which
	r.locate()
	r.machine.SetPolicy(r.policy)
	r.machine.SetMapped(time.Now(), r.external, &r.own.out)
	r.machine.Start(time.Now(), &r.own.out)
}

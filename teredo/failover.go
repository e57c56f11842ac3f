package teredo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"shipworm/teredo/engine"
)

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
		switch a, err := netip.ParseAddr(s); {
		case err == nil && !a.Unmap().Is4():
			errs = append(errs, fmt.Errorf("server %s: not an IPv4 address", s))
		case err != nil && strings.ContainsAny(s, ":/ "):
			errs = append(errs, fmt.Errorf("server %q: not a name or an IPv4 address alone, without port", s))
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

// othersTries is how many solicitations the servers after the first get in the
// first round, together: a day without any server costs no more than 310,
// however many there are (requirement TR-06).
const othersTries = 6

// rotation is where a client stands in its list of servers. In the first round
// the first is asked with a whole series of solicitations, and the others with
// their share of as many; from then on all take turns, one solicitation each, at
// the pace of the back-off.
type rotation struct {
	list   []ServerName
	inUse  int
	cursor int // tried last
	tried  int // since an answer, or a change of the network; at least 1
}

// restart begins the first round anew, with the server in use.
func (t *rotation) restart() { t.tried, t.cursor = 1, t.inUse }

// more reports whether there are servers that this round has not tried.
func (t *rotation) more() bool { return t.tried < min(len(t.list), 1+othersTries) }

// share is how many solicitations each server after the first gets in the first
// round.
func (t *rotation) share() int { return max(1, othersTries/max(1, len(t.list)-1)) }

func (t *rotation) next() int { return (t.cursor + 1) % len(t.list) }

// found is a machine for a server, or nil with why there is none, if that is
// known.
type found struct {
	machine *engine.Client
	which   int
	err     error
	change  int // of the settings that it was made for
}

// firstServer makes the machine for the first server that can be resolved.
func (r *running) firstServer(ctx context.Context) (err error) {
	t := &r.servers
	t.list = r.c.servers()
	for i, n := range t.list {
		var e error
		if r.machine, e = r.c.resolve(ctx, r.policy, r.set.Refresh, n, netip.Addr{}); e == nil {
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
// once for each solicitation and so at the pace of the back-off: the server may
// have moved, its name leading elsewhere, and in the first round, without an
// address to lose, the next of the list gets its turn.
func (r *running) seekServer(ctx context.Context) {
	s := r.machine.Snapshot()
	t := &r.servers
	silent := s.State == engine.Unreachable || s.State == engine.Offline
	switch {
	case !silent || s.Solicitations == r.asked || r.resolving:
	case s.State == engine.Offline && t.more():
		r.asked = s.Solicitations
		r.lookUp(ctx, t.next(), netip.Addr{})
	case t.list[t.inUse].named():
		r.asked = s.Solicitations
		r.lookUp(ctx, t.inUse, s.Server)
	}
}

// passTurn reports whether another server is to be solicited in place of the one
// in use, if that one's next solicitation is due, and sees to it.
func (r *running) passTurn(ctx context.Context, now time.Time) bool {
	t := &r.servers
	switch {
	case !r.takingTurns():
		return false
	case r.resolving:
		return true
	case r.machine.Next().After(now):
		return false
	}
	if t.cursor = t.next(); t.cursor == t.inUse {
		return false
	}
	r.lookUp(ctx, t.cursor, netip.Addr{})
	return true
}

// takingTurns reports whether the first round is over.
func (r *running) takingTurns() bool {
	t := &r.servers
	return len(t.list) > 1 && !t.more() && r.machine.Snapshot().State == engine.Offline
}

// next is when the machine is due: not before the server is found whose turn it
// is.
func (r *running) next() time.Time {
	if r.resolving && r.takingTurns() {
		return time.Time{}
	}
	return r.machine.Next()
}

// lookUp makes a machine for a server beside the packets: the lookup may hang.
func (r *running) lookUp(ctx context.Context, which int, inUse netip.Addr) {
	name, policy, refresh, change := r.servers.list[which], r.policy, r.set.Refresh, r.changes
	r.resolving = true
	r.helpers.Go(func() {
		m, err := r.c.resolve(ctx, policy, refresh, name, inUse)
		if err != nil {
			r.c.log.Warn("look up a server", "err", err)
		}
		r.resolved <- found{m, which, err, change} // one at a time, so there is room
	})
}

// replace goes over to a machine for another server, if there is one. As long
// as the old one holds an address, peers may be using it.
func (r *running) replace(f found) {
	r.resolving = false
	if f.change != r.changes {
		return // the list is another one now
	}
	t := &r.servers
	round := t.more()
	if f.which != t.inUse {
		t.cursor = f.which
		t.tried = min(t.tried+1, len(t.list))
	}
	old := r.machine.Snapshot()
	if f.machine == nil || old.Address.IsValid() {
		if q := new(QualifyError); errors.As(f.err, &q) && !t.more() && !old.Address.IsValid() {
			r.c.set(func() { r.c.failure = q })
		}
		return
	}
	another := f.which != t.inUse
	t.inUse = f.which
	before := r.exchange(f.machine)
	switch now := time.Now(); {
	case !another:
		r.machine.Start(now, &r.own.out)
	case round:
		r.machine.StartShort(now, t.share(), &r.own.out)
	default:
		r.machine.TakeTurn(now, before, &r.own.out)
	}
}

// exchange puts a machine that was not started in place of the one in use, which
// it returns.
func (r *running) exchange(m *engine.Client) (before *engine.Client) {
	for port := range r.extra { // the new machine knows nothing of them
		r.own.out.Close = append(r.own.out.Close, port)
	}
	r.c.log.Info("another server", "from", r.machine.Snapshot().Server, "to", m.Snapshot().Server)
	before, r.machine, r.asked = r.machine, m, 0
	r.locate()
	m.SetPolicy(r.policy)
	m.SetMapped(time.Now(), r.external, &r.own.out)
	return before
}

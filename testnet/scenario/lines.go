package scenario

import (
	"fmt"
	"net/netip"
	"slices"

	"shipworm/testnet/link"
	"shipworm/testnet/sim"
)

// lineState is what events have done to a line. They may overlap, and each is
// undone alone.
type lineState struct {
	node    *Node
	changes []*Event // in force, in the order in which they began
	cuts    []*Event // unplugged by these

	external []netip.Addr // of a NAT, at present
}

func (l *lineState) config() link.Config {
	c := l.node.Line
	for _, e := range l.changes {
		e.Set(&c)
	}
	if len(l.cuts) > 0 {
		c.Loss, c.Burst = 1, 0
	}
	return c
}

// plan sets the timers of an event.
func (r *run) plan(e *Event) {
	r.left++
	r.stage.at(e.At, func() {
		r.left--
		r.tell("line %d: %v %s", e.line, e.Do, e.Node.Name)
		r.happen(e.At.String(), e, r.do)
	})
	if e.Until > 0 {
		r.left++
		r.stage.at(e.Until, func() {
			r.left--
			r.tell("line %d: end of %v %s", e.line, e.Do, e.Node.Name)
			r.happen(e.Until.String(), e, r.undo)
		})
	}
}

func (r *run) happen(when string, e *Event, f func(*Event) error) {
	if err := f(e); err != nil && r.err == nil {
		r.err = fmt.Errorf("line %d: %v %s at %s: %w", e.line, e.Do, e.Node.Name, when, err)
	}
	r.settle()
}

func (r *run) do(e *Event) error {
	l := r.lines[e.Node]
	switch e.Do {
	case Reboot:
		if e.Until > 0 {
			l.cuts = append(l.cuts, e)
		}
		err := r.stage.router(e.Node, func(x *sim.Router) error { x.NAT().Reset(); return nil })
		if err == nil {
			err = r.stage.restart(e.Node)
		}
		if err != nil || e.Until == 0 {
			return err
		}
	case Readdress:
		l.external = e.To
		return r.stage.router(e.Node, func(x *sim.Router) error { return x.SetExternal(e.To...) })
	case Unplug:
		l.cuts = append(l.cuts, e)
	case Replug:
		l.cuts = slices.DeleteFunc(l.cuts, func(c *Event) bool { return c.Do == Unplug })
	case Change:
		l.changes = append(l.changes, e)
	}
	return r.stage.setLine(e.Node, l.config())
}

func (r *run) undo(e *Event) error {
	l := r.lines[e.Node]
	is := func(x *Event) bool { return x == e }
	l.cuts, l.changes = slices.DeleteFunc(l.cuts, is), slices.DeleteFunc(l.changes, is)
	return r.stage.setLine(e.Node, l.config())
}

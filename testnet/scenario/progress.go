package scenario

import (
	"fmt"
	"slices"
)

// tell says what happens now.
func (r *run) tell(format string, args ...any) {
	if r.opts.Progress != nil {
		r.opts.Progress(r.now, fmt.Sprintf(format, args...))
	}
}

// tellVerdict says what becomes of an expectation, once nothing changes that.
func (r *run) tellVerdict(x *Expectation) {
	if r.opts.Progress != nil {
		v := r.judge(x)
		r.tell("line %d %s: %s: %s", v.Line, v.Verdict, v.Text, v.Seen)
	}
}

// hopeless reports whether a program waits for one that has ended otherwise, or
// never starts itself, or for the address of a Teredo client that is none any
// more: then it will not start either.
func (r *run) hopeless(t *Task) bool {
	if t.status != Waiting {
		return false
	}
	if after := t.Program.After; after != nil {
		if first := r.task(after); first.status == Ended && !first.ready() || r.hopeless(first) {
			return true
		}
	}
	return t.Program.Kind == TeredoPing && !r.hasClient(t.Program.To, Waiting, Running)
}

// hasClient reports whether a host has a Teredo client in one of the states.
func (r *run) hasClient(n *Node, states ...Status) bool {
	return slices.ContainsFunc(r.tasks, func(t *Task) bool {
		return t.Program.Kind == TeredoClient && t.Program.Host == n && slices.Contains(states, t.status)
	})
}

// mayBegin reports whether an expectation that counts from the start of its
// program may begin to count.
func (r *run) mayBegin(x *Expectation) bool {
	for _, t := range r.tasks {
		if r.subject(x, t) && t.status != Skipped && !r.hopeless(t) {
			return true
		}
	}
	return false
}

package scenario

import "fmt"

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
// never starts itself: then it will not start either.
func (r *run) hopeless(t *Task) bool {
	after := t.Program.After
	if t.status != Waiting || after == nil {
		return false
	}
	first := r.task(after)
	return first.status == Ended && !first.ready() || r.hopeless(first)
}

// mayBegin reports whether an expectation that counts from the start of its
// program may begin to count.
func (r *run) mayBegin(x *Expectation) bool {
	for _, t := range r.tasks {
		if r.subject(x, t) && !r.hopeless(t) {
			return true
		}
	}
	return false
}

package scenario

import "time"

// subject reports whether an expectation of an address or of a path is about
// this program.
func (r *run) subject(x *Expectation, t *Task) bool {
	p := t.Program
	switch x.Of {
	case OfProgram:
		return p == x.Program
	case OfReachable:
		return p.Host == x.From && p.To == x.Host
	case OfQualified:
		// A ping has an address of its own, which is gone when it ends.
		return p.Host == x.Host && p.Kind == TeredoClient
	}
	return false
}

// since returns from when an expectation counts: the time that it names, or the
// start of its program; false before that.
func (r *run) since(x *Expectation) (time.Duration, bool) {
	if x.Since >= 0 {
		return x.Since, true
	}
	var first time.Duration
	found := false
	for _, t := range r.tasks {
		if r.subject(x, t) && (t.status == Running || t.status == Ended) && (!found || t.started < first) {
			first, found = t.started, true
		}
	}
	return first, found
}

// meet notes the first time at which an expectation was met.
func (r *run) meet(x *Expectation, at time.Duration) {
	if _, ok := r.met[x]; !ok {
		r.met[x] = at
		r.tellVerdict(x)
	}
}

// qualified looks for expectations that a new address meets.
func (r *run) qualified(t *Task, now time.Duration) {
	for _, x := range r.s.Expectations {
		if x.Of != OfQualified || !r.subject(x, t) || !r.mappingFits(x, t) {
			continue
		}
		if since, ok := r.since(x); ok && now >= since && now <= since+x.Within {
			r.meet(x, now)
		}
	}
}

// standing looks whether an expectation is met by an address that was there
// before it began to count.
func (r *run) standing(x *Expectation) {
	for _, t := range r.tasks {
		if x.Of == OfQualified && r.subject(x, t) && t.status == Running && t.address.IsValid() && r.mappingFits(x, t) {
			r.meet(x, x.Since)
		}
	}
	r.settle()
}

// mappingFits reports whether the mapping is the one that is expected.
func (r *run) mappingFits(x *Expectation, t *Task) bool {
	if x.Mapped != nil {
		for _, a := range r.lines[x.Mapped].external {
			if a == t.mapped.Addr() {
				return true
			}
		}
		return false
	}
	want := x.MappedAddr
	return !want.IsValid() || (want.Addr() == t.mapped.Addr() && (want.Port() == 0 || want.Port() == t.mapped.Port()))
}

// answered looks for expectations that the answer to a ping meets.
func (r *run) answered(t *Task, sent, now time.Duration) {
	kept := t.unproven[:0]
	for _, x := range t.unproven {
		since, ok := r.since(x)
		if ok && sent >= since && now <= since+x.Within {
			r.meet(x, now)
			continue
		}
		kept = append(kept, x)
	}
	t.unproven = kept
}

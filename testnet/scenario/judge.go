package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// judge returns what became of an expectation.
func (r *run) judge(x *Expectation) ExpectationResult {
	out := ExpectationResult{Line: x.Line, Text: x.String()}
	if why := r.skipped(x); why != "" {
		out.Verdict, out.Seen = VerdictSkipped, why
		return out
	}
	held := false
	switch x.Of {
	case OfProgram:
		held, out.Seen = r.judgeProgram(x)
	case OfQualified, OfReachable:
		held, out.Seen = r.judgeWindow(x)
	case OfDrops:
		return r.judgeDrops(x, out)
	}
	out.Verdict = VerdictFailed
	if held {
		out.Verdict = VerdictHeld
	}
	return out
}

// skipped returns why an expectation cannot be judged, or nothing.
func (r *run) skipped(x *Expectation) string {
	why := ""
	for _, t := range r.tasks {
		if !r.subject(x, t) {
			continue
		}
		if t.status != Skipped {
			return ""
		}
		why = t.Program.Name + " is skipped: " + t.note
	}
	return why
}

func (r *run) judgeProgram(x *Expectation) (bool, string) {
	t := r.task(x.Program)
	if t.status == Waiting {
		return false, "it was not started: " + r.waitsFor(t)
	}
	held := true
	check := func(ok bool) { held = held && ok }
	var seen []string
	if x.Exit != nil {
		check(t.status == Ended && t.exit == *x.Exit)
		seen = append(seen, t.state())
	}
	lost := t.sent - len(t.answers)
	if x.Answers != nil || x.Lost != nil {
		check(x.Answers == nil || len(t.answers) >= *x.Answers)
		check(x.Lost == nil || lost <= *x.Lost)
		seen = append(seen, fmt.Sprintf("%d of %d answered", len(t.answers), t.sent))
	}
	if x.LatencyMin > 0 || x.LatencyMax > 0 || x.MedianMin > 0 || x.MedianMax > 0 {
		low, median, high, ok := spread(t.answers)
		check(ok && low >= x.LatencyMin && median >= x.MedianMin)
		check(x.LatencyMax == 0 || high <= x.LatencyMax)
		check(x.MedianMax == 0 || median <= x.MedianMax)
		if ok {
			seen = append(seen, fmt.Sprintf("answers took %s to %s, median %s", short(low), short(high), short(median)))
		} else {
			seen = append(seen, "no answer")
		}
	}
	if x.Output != "" {
		found := strings.Contains(string(t.output.b), x.Output)
		check(found)
		switch last := t.output.last(); {
		case found:
			seen = append(seen, "it printed that")
		case x.Exit == nil || t.note != last: // else it is in the state
			seen = append(seen, last)
		}
	}
	return held, strings.Join(seen, "; ")
}

// waitsFor says why a program has not started.
func (r *run) waitsFor(t *Task) string {
	p := t.Program
	switch {
	case r.now < p.Start && !r.hopeless(t):
		return fmt.Sprintf("the run was over before %v", p.Start)
	case p.After != nil && !r.task(p.After).ready():
		return fmt.Sprintf("it waits for %s, which is %s", p.After.Name, r.task(p.After).state())
	case p.To != nil:
		return p.To.Name + " had no Teredo address"
	}
	return "the run was over"
}

// state says how a program stands.
func (t *Task) state() string {
	if t.status != Ended {
		return string(t.status)
	}
	s := fmt.Sprintf("exit code %d after %s", t.exit, short(t.ended-t.started))
	if t.note != "" {
		s += ", " + t.note
	}
	return s
}

func (r *run) judgeWindow(x *Expectation) (bool, string) {
	since, started := r.since(x)
	if at, ok := r.met[x]; ok {
		seen := "after " + short(at-since)
		if x.Of == OfQualified {
			seen += r.addresses(x)
		}
		return true, seen
	}
	if !started {
		for _, t := range r.tasks {
			if r.subject(x, t) {
				return false, t.Program.Name + " was not started: " + r.waitsFor(t)
			}
		}
	}
	if x.Of == OfQualified {
		return false, "no such address in time" + r.addresses(x)
	}
	var seen []string
	for _, t := range r.tasks {
		if r.subject(x, t) {
			seen = append(seen, fmt.Sprintf("%s had %d of %d answered, none of them in time", t.Program.Name, len(t.answers), t.sent))
		}
	}
	return false, strings.Join(seen, "; ")
}

// addresses says which addresses there are at the end.
func (r *run) addresses(x *Expectation) string {
	s := ""
	for _, t := range r.tasks {
		if !r.subject(x, t) {
			continue
		}
		switch {
		case t.address.IsValid():
			s += fmt.Sprintf(", mapping %v", t.mapped)
		case t.status == Ended:
			s += fmt.Sprintf("; %s ended with %s", t.Program.Name, t.state())
		default:
			s += "; no address at the end"
		}
	}
	return s
}

func (r *run) judgeDrops(x *Expectation, out ExpectationResult) ExpectationResult {
	r.mu.Lock()
	defer r.mu.Unlock()
	var n uint64
	for d, count := range r.drops {
		node, _, _ := strings.Cut(d.node, "/")
		if strings.Contains(d.reason, x.Reason) && (x.Where == nil || x.Where.Name == node) {
			n += count
		}
	}
	out.Seen = fmt.Sprintf("%d packets", n)
	out.Verdict = VerdictHeld
	if n < x.Min || (x.Max != nil && n > *x.Max) {
		out.Verdict = VerdictFailed
	}
	tooMany := x.Max != nil && n > *x.Max
	enough := x.Max == nil && n >= x.Min
	for _, t := range r.tasks {
		if t.status == Skipped && !tooMany && !enough {
			out.Verdict, out.Seen = VerdictSkipped, fmt.Sprintf("%d packets, but %s is skipped", n, t.Program.Name)
			break
		}
	}
	return out
}

// spread returns the least, middle and greatest of some times; false if there
// are none.
func spread(d []time.Duration) (low, median, high time.Duration, ok bool) {
	if len(d) == 0 {
		return 0, 0, 0, false
	}
	d = slices.Clone(d)
	slices.Sort(d)
	return d[0], d[len(d)/2], d[len(d)-1], true
}

// short rounds a time for people.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(10 * time.Microsecond).String()
	default:
		return d.Round(time.Millisecond).String()
	}
}

// String says in words what is expected.
func (x *Expectation) String() string {
	switch x.Of {
	case OfProgram:
		return x.Program.Name + ": " + strings.Join(x.bounds(), ", ")
	case OfQualified:
		s := x.Host.Name + " has a Teredo address"
		switch {
		case x.Mapped != nil:
			s += " with a mapping of " + x.Mapped.Name
		case x.MappedAddr.Port() != 0:
			s += " with the mapping " + x.MappedAddr.String()
		case x.MappedAddr.IsValid():
			s += " with a mapping at " + x.MappedAddr.Addr().String()
		}
		return s + x.window()
	case OfReachable:
		return fmt.Sprintf("%s reaches %s%s", x.From.Name, x.Host.Name, x.window())
	}
	s := fmt.Sprintf("dropped: %q", x.Reason)
	if x.Where != nil {
		s += " at " + x.Where.Name
	}
	if x.Max == nil {
		return s + fmt.Sprintf(", at least %d", x.Min)
	}
	return s + fmt.Sprintf(", %d to %d", x.Min, *x.Max)
}

func (x *Expectation) window() string {
	if x.Since < 0 {
		return fmt.Sprintf(" within %v", x.Within)
	}
	return fmt.Sprintf(" within %v from %v on", x.Within, x.Since)
}

func (x *Expectation) bounds() []string {
	var s []string
	if x.Exit != nil {
		s = append(s, fmt.Sprintf("exit code %d", *x.Exit))
	}
	if x.Answers != nil {
		s = append(s, fmt.Sprintf("at least %d answers", *x.Answers))
	}
	if x.Lost != nil {
		s = append(s, fmt.Sprintf("at most %d lost", *x.Lost))
	}
	for _, b := range []struct {
		what, how string
		d         time.Duration
	}{
		{"every answer", "at least", x.LatencyMin}, {"every answer", "at most", x.LatencyMax},
		{"median", "at least", x.MedianMin}, {"median", "at most", x.MedianMax},
	} {
		if b.d > 0 {
			s = append(s, fmt.Sprintf("%s %s %v", b.what, b.how, b.d))
		}
	}
	if x.Output != "" {
		s = append(s, fmt.Sprintf("prints %q", x.Output))
	}
	return s
}

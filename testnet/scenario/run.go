package scenario

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"sync"
	"time"

	"shipworm/testnet/adversary"
	"shipworm/testnet/link"
	"shipworm/testnet/sim"
	"shipworm/testnet/trace"
)

// Options of a run. The zero value runs a scenario without Teredo programs.
type Options struct {
	// Seed of every die; 0 = the scenario's.
	Seed uint64
	// Programs are the Teredo programs.
	Programs map[Kind]Runner
	// Recorder keeps the packets, or is nil. It records one run.
	Recorder *trace.Recorder
	// Output is called with every line that a program of the laboratory
	// prints, from several goroutines, or is nil.
	Output func(program, line string)
	// Progress is called with what happens, as it happens: programs that start
	// and end, events, expectations whose verdict is known before the end. It is
	// called from one goroutine, or is nil.
	Progress func(at time.Duration, what string)
}

// stage is the clock that a run is on. Everything but report happens in one
// goroutine.
type stage interface {
	// at has f called at a time after the start.
	at(d time.Duration, f func())
	// report has f called with the present time, soon.
	report(f func(now time.Duration))
	setLine(n *Node, c link.Config) error
	router(n *Node, f func(*sim.Router) error) error
	// restart has the mapping protocols of a NAT lose their state with it.
	restart(n *Node) error
	launch(t *Task) error
	// tap calls f with the world and a node, whose line it is.
	tap(n *Node, f func(*sim.World, adversary.Line) error) error
}

// run is what both clocks share: programs start, events happen, and what is
// seen is held against the expectations.
type run struct {
	s     *Scenario
	opts  Options
	seed  uint64
	stage stage
	now   time.Duration // of the last thing that happened
	tasks []*Task
	lines map[*Node]*lineState
	met   map[*Expectation]time.Duration
	left  int   // events that have not happened yet
	err   error // ends the run
	over  bool

	attacks map[*Adversary]attack // that have begun

	mu    sync.Mutex // guards what follows: packets come from anywhere
	hash  *sim.Hash
	drops map[drop]uint64
}

// drop is what drops are counted by.
type drop struct{ node, reason string }

func newRun(s *Scenario, opts Options) *run {
	r := &run{s: s, opts: opts, seed: opts.Seed, lines: map[*Node]*lineState{},
		met: map[*Expectation]time.Duration{}, attacks: map[*Adversary]attack{}, hash: sim.NewHash(), drops: map[drop]uint64{}}
	if r.seed == 0 {
		r.seed = s.Seed
	}
	for _, n := range s.Nodes {
		r.lines[n] = &lineState{node: n, external: n.Addrs}
	}
	for _, p := range s.Programs {
		r.tasks = append(r.tasks, &Task{Program: p, Seed: seedOf(r.seed, p.Name), run: r, status: Waiting})
	}
	return r
}

// seedOf returns the seed of one program's or adversary's own dice.
func seedOf(seed uint64, name string) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d/%s", seed, name)
	return h.Sum64()
}

func (r *run) task(p *Program) *Task {
	for _, t := range r.tasks {
		if t.Program == p {
			return t
		}
	}
	return nil
}

// watch has the run see every packet of a world.
func (r *run) watch(w *sim.World) {
	if r.opts.Recorder != nil {
		r.opts.Recorder.Attach(w)
	}
	w.SetTrace(r.event)
}

// event takes every event of the world.
func (r *run) event(e sim.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hash.Add(e)
	if e.Kind == sim.Dropped {
		r.drops[drop{e.Node, e.Reason}]++
	}
	if r.opts.Recorder != nil {
		r.opts.Recorder.OnEvent(e)
	}
}

// begin sets every timer and starts what starts at once.
func (r *run) begin() {
	for _, a := range r.s.Adversaries {
		r.unleash(a)
	}
	for _, e := range r.s.Events {
		r.plan(e)
	}
	for _, t := range r.tasks {
		if t.Program.Start > 0 {
			r.stage.at(t.Program.Start, r.settle)
		}
	}
	for _, x := range r.s.Expectations {
		if x.Of != OfQualified && x.Of != OfReachable {
			continue
		}
		if x.Of == OfReachable {
			for _, t := range r.tasks {
				if t.Program.Host == x.From && t.Program.To == x.Host {
					t.unproven = append(t.unproven, x)
				}
			}
		}
		if x.Since > 0 {
			r.stage.at(x.Since, func() { r.standing(x) })
			r.stage.at(x.Since+x.Within+1, r.settle)
		}
	}
	r.settle()
}

// report hands f to the clock, and lets its consequences follow.
func (r *run) report(f func(now time.Duration)) {
	r.stage.report(func(now time.Duration) {
		r.now = max(r.now, now)
		f(now)
		r.settle()
	})
}

// settle starts the programs whose time has come, and finds out whether the run
// is over.
func (r *run) settle() {
	for again := true; again && r.err == nil; {
		again = false
		for _, t := range r.tasks {
			if t.status == Waiting && r.now >= t.Program.Start && r.mayStart(t) {
				r.start(t)
				again = true
			}
		}
	}
	r.over = r.err != nil || r.complete()
}

// mayStart reports whether everything that a program waits for is there.
func (r *run) mayStart(t *Task) bool {
	if after := t.Program.After; after != nil && !r.task(after).ready() {
		return false
	}
	return t.Program.Kind != TeredoPing || r.teredoOf(t.Program.To).IsValid()
}

func (r *run) start(t *Task) {
	t.status, t.started = Running, r.now
	r.tell("%s starts on %s", t.Program.Name, t.Program.Host.Name)
	for _, x := range r.s.Expectations {
		if x.Since < 0 && r.subject(x, t) {
			r.stage.at(r.now+x.Within+1, r.settle)
		}
	}
	if err := r.stage.launch(t); err != nil && r.err == nil {
		t.status, t.note = Waiting, err.Error()
		r.err = fmt.Errorf("program %s: %w", t.Program.Name, err)
	}
}

// skip takes programs out of the run, and those that wait for them.
func (r *run) skip(why func(*Program) string) {
	for _, t := range r.tasks {
		if note := why(t.Program); note != "" {
			t.status, t.note = Skipped, note
		}
	}
	for range r.tasks { // a chain of waiting programs is at most that long
		for _, t := range r.tasks {
			if after := t.Program.After; t.status == Waiting && after != nil && r.task(after).status == Skipped {
				t.status, t.note = Skipped, fmt.Sprintf("it starts after %s, which is skipped", after.Name)
			}
			if to := t.Program.To; t.Program.Kind == TeredoPing && r.hasClient(to, Skipped) && !r.hasClient(to, Waiting) {
				t.status, t.note = Skipped, fmt.Sprintf("the Teredo client of %s is skipped", to.Name)
			}
		}
	}
}

// teredoOf returns the address of the Teredo client on a host.
func (r *run) teredoOf(n *Node) netip.Addr {
	for _, t := range r.tasks {
		if t.Program.Kind == TeredoClient && t.Program.Host == n && t.status == Running && t.address.IsValid() {
			return t.address
		}
	}
	return netip.Addr{}
}

// complete reports whether nothing can change the outcome any more: every
// event has happened, the programs that end have ended, and no expectation has
// time left. A scenario with neither runs to its limit.
func (r *run) complete() bool {
	if r.left > 0 {
		return false
	}
	ends := false
	for _, t := range r.tasks {
		if !t.Program.ends() || t.status == Skipped {
			continue
		}
		ends = true
		if t.status != Ended && !r.hopeless(t) {
			return false
		}
	}
	for _, x := range r.s.Expectations {
		if x.Of != OfQualified && x.Of != OfReachable {
			continue
		}
		ends = true
		if _, ok := r.met[x]; ok || r.skipped(x) != "" {
			continue
		}
		if since, ok := r.since(x); ok && r.now <= since+x.Within || !ok && r.mayBegin(x) {
			return false
		}
	}
	return ends
}

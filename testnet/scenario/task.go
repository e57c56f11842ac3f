package scenario

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"shipworm/testnet/sim"
)

// A Runner is one of our own programs, for both clocks.
type Runner interface {
	// Simulate starts the program in virtual time: it binds ports of t.Node,
	// sets timers with t.World.At and returns. What it sees it reports to t.
	Simulate(t *Task) error
	// Command returns the command line of the program for the laboratory.
	Command(t *Task) ([]string, error)
	// Line takes a line that the program of Command printed, and reports what
	// it tells to t.
	Line(t *Task, line string)
}

// Status of a program.
type Status string

// Statuses of programs.
const (
	Waiting Status = "waiting" // its start never came
	Running Status = "running" // until the end of the run
	Ended   Status = "ended"
	Skipped Status = "skipped"
)

// A Task is a program in a run. A Runner reports what happens by its methods,
// which may be called from any goroutine in the laboratory.
type Task struct {
	Program *Program
	Seed    uint64     // for the program's own dice
	World   *sim.World // in simulation, else nil
	Node    *sim.Host  // in simulation, else nil

	run *run

	status         Status
	note           string // why it is skipped, or what it said last
	started, ended time.Duration
	exit           int
	listening      bool // of a program with Listen

	address  netip.Addr     // Teredo, while qualified
	mapped   netip.AddrPort // the same, or of a PortMap
	everHad  bool
	sent     int
	answers  []time.Duration // round-trip times
	unproven []*Expectation  // of reachability, not met yet
	output   tail
}

// Peer returns the Teredo address of the host to ping: there is one, since the
// task is not started before.
func (t *Task) Peer() netip.Addr { return t.run.teredoOf(t.Program.To) }

// Qualified reports a Teredo address and the mapping in it.
func (t *Task) Qualified(address netip.Addr, mapped netip.AddrPort) {
	t.run.report(func(now time.Duration) {
		t.address, t.mapped, t.everHad = address, mapped, true
		t.run.tell("%s has the mapping %v", t.Program.Name, mapped)
		t.run.qualified(t, now)
	})
}

// Mapped reports the external end of a port that a router has opened; the zero
// value, that it is closed again.
func (t *Task) Mapped(external netip.AddrPort) {
	t.run.report(func(time.Duration) {
		t.mapped = external
		if external.IsValid() {
			t.run.tell("%s has the mapping %v", t.Program.Name, external)
		} else {
			t.run.tell("%s has lost its mapping", t.Program.Name)
		}
	})
}

// AddressLost reports that the Teredo address is gone.
func (t *Task) AddressLost() {
	t.run.report(func(time.Duration) {
		t.address, t.mapped = netip.Addr{}, netip.AddrPort{}
		t.run.tell("%s has lost its address", t.Program.Name)
	})
}

// Note reports what there is to say about a program that runs on.
func (t *Task) Note(text string) {
	t.run.report(func(time.Duration) {
		if text != "" && text != t.note {
			t.run.tell("%s: %s", t.Program.Name, text)
		}
		t.note = text
	})
}

// Sent reports how many requests a ping has sent so far.
func (t *Task) Sent(n int) {
	t.run.report(func(time.Duration) { t.sent = max(t.sent, n) })
}

// Answer reports an answer to a ping that came in now.
func (t *Task) Answer(rtt time.Duration) {
	t.run.report(func(now time.Duration) {
		t.answers = append(t.answers, rtt)
		t.run.answered(t, now-rtt, now)
	})
}

// Exit reports the end of the program, with its exit code and, if there is
// something to say, why. A program that fails has said it last.
func (t *Task) Exit(code int, note string) {
	t.run.report(func(now time.Duration) {
		if t.status != Running {
			return
		}
		t.status, t.exit, t.ended = Ended, code, now
		switch {
		case note != "":
			t.note = note
		case code != 0 && len(t.output.b) > 0:
			t.note = t.output.last()
		}
		t.run.tell("%s ends: %s", t.Program.Name, t.state())
		for _, x := range t.run.s.Expectations {
			if x.Of == OfProgram && x.Program == t.Program {
				t.run.tellVerdict(x)
			}
		}
	})
}

// ready reports whether a program that waits for this one may start.
func (t *Task) ready() bool {
	p := t.Program
	switch {
	case t.status == Ended:
		return p.ends()
	case t.status != Running:
		return false
	case p.Kind == TeredoClient:
		return t.address.IsValid()
	case p.Kind == PortMap:
		return t.mapped.IsValid()
	case p.Listen.Port != 0:
		return t.listening
	}
	return !p.ends()
}

// tail keeps the end of what a program printed.
type tail struct {
	b []byte
}

const tailSize = 64 << 10

func (t *tail) add(line string) {
	t.b = append(append(t.b, line...), '\n')
	if len(t.b) > 2*tailSize {
		t.b = append(t.b[:0], t.b[len(t.b)-tailSize:]...)
	}
}

// last quotes the last line that is not empty and no hint on what to do.
func (t *tail) last() string {
	lines := strings.Split(string(t.b), "\n")
	for _, line := range slices.Backward(lines) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "hint: ") {
			return fmt.Sprintf("it printed last %.120q", line)
		}
	}
	return "it printed nothing"
}

// A Pinger sends requests on the beat and matches answers, in simulation. It
// ends its task: with exit code 0 if there was any answer, else 3.
type Pinger struct {
	t       *Task
	send    func(seq int)
	sentAt  map[int]time.Time // of requests that wait for an answer
	next    int
	answers int
	done    bool
}

// NewPinger begins at once: it calls send for each of the task's requests,
// numbered from 1. Answers go to Answered.
func NewPinger(t *Task, send func(seq int)) *Pinger {
	p := &Pinger{t: t, send: send, sentAt: make(map[int]time.Time), next: 1}
	p.beat()
	return p
}

func (p *Pinger) beat() {
	if p.done {
		return
	}
	now, seq := p.t.World.Now(), p.next
	p.next++
	p.sentAt[seq] = now
	p.t.Sent(seq)
	p.send(seq)
	p.t.World.At(now.Add(p.t.Program.Wait), func() {
		delete(p.sentAt, seq)
		p.end()
	})
	if p.next <= p.t.Program.Count {
		p.t.World.At(now.Add(p.t.Program.Interval), p.beat)
	}
}

// Answered takes the answer to a request; repeated and late ones do not count.
func (p *Pinger) Answered(seq int) {
	at, ok := p.sentAt[seq]
	if !ok || p.done {
		return
	}
	delete(p.sentAt, seq)
	p.answers++
	p.t.Answer(p.t.World.Now().Sub(at))
	p.end()
}

func (p *Pinger) end() {
	if p.done || p.next <= p.t.Program.Count || len(p.sentAt) > 0 {
		return
	}
	p.done = true
	if p.answers > 0 {
		p.t.Exit(0, "")
	} else {
		p.t.Exit(exitNegative, "no answer")
	}
}

// exitNegative is the exit code of a ping without an answer, in both clocks.
const exitNegative = 3

package natprobe

import (
	"net/netip"
	"slices"
	"time"

	"shipworm/natprobe/message"
	"shipworm/natprobe/report"
)

// A machine is one run over one address family. It owns no socket and no
// clock: its driver opens the sockets it asks for, sends what actions says,
// hands in what arrives, and calls tick when next says so, until done.
//
//	contact --- nobody answers for 2 s ---------------------------> finish
//	   | first answer: round trip, other address
//	filter: silence or an answer from the other address, on socket F
//	   | verdict; nothing was sent to the other address so far
//	mapping: the other three endpoints of the server, on socket M
//	   |
//	control, unless the filter is open: an answer must get through where M
//	   |     sent to, else the silence before was the server's
//	extras, as configured ----------------------------------------> finish
type machine struct {
	cfg    Config
	policy Policy
	pace   *pacer
	clock  clock
	now    time.Time
	began  time.Time

	sockets []*socket
	asks    []*ask
	timers  []timer
	out     []action
	count   Counters

	server int            // index of the one in use
	a1     netip.AddrPort // its address
	a2     netip.AddrPort // its other address and port, once known and permitted
	seen   bool           // an answer told a2, or that there is none
	reject string         // why an other address was not used
	old    bool           // an other address in the words of RFC 3489
	alg    report.Verdict

	software string // as it came

	core
	extras extras
	ended  bool
}

// A socket is one that the driver opened for the machine.
type socket struct {
	id      int
	options options
	local   netip.AddrPort // invalid until opened
	err     error
}

// options of a socket that not every system has.
type options struct {
	ttl    int  // hops that its packets live; 0 = enough
	whole  bool // its packets are never sent in pieces
	second bool // its address is Config.Second
}

type timer struct {
	at time.Time
	f  func()
}

// Counters say what a run sent and what it did not believe.
type Counters struct {
	Sent        int // packets
	Answers     int // that a test expected
	Malformed   int // not a STUN answer of acceptable size
	Unasked     int // unknown transaction, or on the wrong socket
	WrongSource int // right transaction, from somewhere else
	Duplicates  int
	Capped      int // questions cut short by MaxPackets
}

type actionKind uint8

const (
	actOpen actionKind = iota // a socket, on port if that is free
	actSend
	actDial // TCP to the server: is it there at all?
)

// An action is a request to the driver.
type action struct {
	kind actionKind
	sock int
	port uint16
	options
	to   netip.AddrPort
	data []byte
}

func newMachine(cfg Config, p *pacer) *machine {
	return &machine{cfg: cfg, policy: cfg.Policy.compile(), pace: p}
}

// start begins the run.
func (m *machine) start(now time.Time) {
	m.now, m.began = now, now
	m.contact()
	m.tick(now)
}

// actions returns what the driver has to do, in order, and forgets it.
func (m *machine) actions() []action {
	out := m.out
	m.out = nil
	return out
}

func (m *machine) done() bool { return m.ended }

// open asks the driver for a socket; port 0 is any.
func (m *machine) open(port uint16, o options) *socket {
	s := &socket{id: len(m.sockets), options: o}
	m.sockets = append(m.sockets, s)
	m.out = append(m.out, action{kind: actOpen, sock: s.id, port: port, options: o})
	return s
}

// opened tells the local address of a socket, or why there is none.
func (m *machine) opened(id int, local netip.AddrPort, err error) {
	m.sockets[id].local, m.sockets[id].err = unmap(local), err
}

func (m *machine) after(d time.Duration, f func()) {
	m.timers = append(m.timers, timer{m.now.Add(d), f})
}

// ask puts a question, first at the next tick.
func (m *machine) ask(a *ask) *ask {
	a.next = m.now
	m.asks = append(m.asks, a)
	return a
}

// persist fills in the copies and pauses of a question that needs an answer,
// once the round trip is known.
func (m *machine) persist(a *ask) *ask {
	a.limit, a.share, a.needs = persistent, 0.5, true
	return m.ask(a)
}

// persistent is how often a question is asked that needs an answer.
const persistent = 9

// finish ends an ask.
func (m *machine) finish(a *ask) {
	if a.over {
		return
	}
	a.over = true
	if a.then != nil {
		a.then()
	}
}

// next returns when tick wants to be called; false if only an answer helps.
func (m *machine) next() (time.Time, bool) {
	var at time.Time
	earlier := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	if m.ended {
		return at, false
	}
	for _, t := range m.timers {
		earlier(t.at)
	}
	for _, a := range m.asks {
		if a.over {
			continue
		}
		if len(a.sent) < a.limit && m.count.Sent < MaxPackets {
			earlier(m.pace.ready(a.next))
		} else {
			earlier(a.next)
		}
	}
	return at, !at.IsZero()
}

// tick does what is due at now.
func (m *machine) tick(now time.Time) {
	m.advance(now)
	for i := 0; i < len(m.timers); {
		if t := m.timers[i]; !t.at.After(m.now) {
			m.timers = slices.Delete(m.timers, i, i+1)
			t.f()
			i = 0
		} else {
			i++
		}
	}
	// What ends an ask may begin another: the slice grows while it is walked.
	for i := 0; i < len(m.asks) && !m.ended; i++ {
		for a := m.asks[i]; !a.over && !a.next.After(m.now); {
			if !m.step(a) {
				break
			}
		}
	}
}

func (m *machine) advance(now time.Time) {
	if now.After(m.now) {
		m.now = now
	}
}

// step sends the next copy of a, or ends it; false if it has to wait.
func (m *machine) step(a *ask) bool {
	switch {
	case a.sock.err != nil:
		m.finish(a)
		return false
	case len(a.sent) >= a.limit && m.wantsMore(a):
		a.limit++
	case len(a.sent) >= a.limit:
		m.finish(a)
		return false
	case m.count.Sent >= MaxPackets:
		m.count.Capped++
		a.limit = len(a.sent)
		a.next = m.now.Add(m.clock.wait())
		return true
	}
	if !m.pace.take(m.now) {
		return false
	}
	req := message.Message{ID: message.NewID(), ChangeIP: a.changeIP, ChangePort: a.changePort, ResponsePort: a.port, Padding: a.padding}
	m.count.Sent++
	a.sent = append(a.sent, transaction{id: req.ID, at: m.now})
	m.out = append(m.out, action{kind: actSend, sock: a.sock.id, to: a.to, data: req.Append(nil)})
	a.next = m.now.Add(a.pause(&m.clock))
	return true
}

// lost counts the copies that should have been answered by now, of plain
// questions and others that nothing but the network can have lost, and those
// of them that were not.
func (m *machine) lost() (lost, of int) {
	late := m.now.Add(-m.clock.wait())
	for _, a := range m.asks {
		if !a.plain() && a.reply == nil {
			continue
		}
		for _, t := range a.sent {
			if t.answered || t.at.Before(late) {
				of++
			}
			if !t.answered && t.at.Before(late) {
				lost++
			}
		}
	}
	return lost, of
}

package session

import (
	"net/netip"
	"testing"
	"time"

	"shipworm/ra/face"
	"shipworm/ra/sessionlog"
)

var (
	epoch0  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	userAt  = netip.MustParseAddrPort("[2001:db8::1]:50000")
	helpAt  = netip.MustParseAddrPort("[2001:db8::2]:50001")
	clients = [2]Role{User, Helper}
)

// pair is two machines and the ordered streams between them, in virtual time.
type pair struct {
	now  time.Time
	m    [2]*Machine
	out  [2]Output
	wire [2][]Message // on their way to the role of the index
	log  [2][]sessionlog.Record
}

func newPair(c Config) *pair {
	u, h := c, c
	u.Name, h.Name = "Alice", "Bob"
	return &pair{now: epoch0, m: [2]*Machine{NewUser(u), NewHelper(h)}}
}

// collect moves what role's machine made due onto the wire and into its log.
func (p *pair) collect(r Role) {
	p.wire[r.Peer()] = append(p.wire[r.Peer()], p.out[r].Send...)
	p.log[r] = append(p.log[r], p.out[r].Log...)
	p.out[r].Reset()
}

func (p *pair) do(r Role, f func(m *Machine, now time.Time, out *Output) error) error {
	err := f(p.m[r], p.now, &p.out[r])
	p.collect(r)
	return err
}

// deliver hands one message that is on its way to r over; after r has ended it
// is lost, as on a closed channel.
func (p *pair) deliver(r Role) error {
	if len(p.wire[r]) == 0 {
		return nil
	}
	msg := p.wire[r][0]
	p.wire[r] = p.wire[r][1:]
	if p.m[r].State() == Ended {
		return nil
	}
	return p.do(r, func(m *Machine, now time.Time, out *Output) error { return m.Receive(now, msg, out) })
}

func (p *pair) settle(t testing.TB) {
	t.Helper()
	for len(p.wire[User])+len(p.wire[Helper]) > 0 {
		for _, r := range clients {
			if err := p.deliver(r); err != nil {
				t.Fatalf("%v: %v", r, err)
			}
		}
	}
}

// advance lets d pass in steps of what falls due, with no delay on the wire.
func (p *pair) advance(t testing.TB, d time.Duration) {
	t.Helper()
	for end := p.now.Add(d); ; {
		next := end
		for _, r := range clients {
			if n := p.m[r].Next(); !n.IsZero() && n.Before(next) {
				next = n
			}
		}
		p.now = next
		for _, r := range clients {
			p.do(r, func(m *Machine, now time.Time, out *Output) error { m.Tick(now, out); return nil })
		}
		p.settle(t)
		if next.Equal(end) {
			return
		}
	}
}

func (p *pair) connect(t testing.TB) {
	t.Helper()
	p.must(t, Helper, func(m *Machine, now time.Time, out *Output) error { return m.Connected(now, userAt, out) })
	p.must(t, User, func(m *Machine, now time.Time, out *Output) error { return m.Connected(now, helpAt, out) })
	p.settle(t)
}

func (p *pair) must(t testing.TB, r Role, f func(m *Machine, now time.Time, out *Output) error) {
	t.Helper()
	if err := p.do(r, f); err != nil {
		t.Fatalf("%v: %v", r, err)
	}
}

// answer waits until the open question may be answered, and answers it.
func (p *pair) answer(t testing.TB, yes bool) {
	t.Helper()
	q := p.m[User].View().Question
	if q == nil {
		t.Fatal("no question is open")
	}
	if p.now.Before(q.Enabled) {
		p.advance(t, q.Enabled.Sub(p.now))
	}
	p.must(t, User, func(m *Machine, now time.Time, out *Output) error { return m.Answer(now, q.ID, yes, out) })
	p.settle(t)
}

// reach brings a fresh pair into a state.
func (p *pair) reach(t testing.TB, s State) {
	t.Helper()
	if s >= Waiting {
		p.connect(t)
	}
	if s == Screen || s == Control {
		p.answer(t, true)
	}
	if s == Control {
		p.must(t, Helper, (*Machine).RequestControl)
		p.settle(t)
		p.answer(t, true)
	}
	if s == Ended {
		p.must(t, User, (*Machine).Stop)
		p.settle(t)
	}
	if s != Opening && (p.m[User].State() != s || p.m[Helper].State() != s) {
		t.Fatalf("reached %v and %v, want %v", p.m[User].State(), p.m[Helper].State(), s)
	}
}

func events(recs []sessionlog.Record) []string {
	var s []string
	for _, r := range recs {
		s = append(s, r.Event)
	}
	return s
}

func question(t testing.TB, p *pair, kind string) *face.Question {
	t.Helper()
	q := p.m[User].View().Question
	if q == nil || q.Kind != kind {
		t.Fatalf("question is %+v, want %s", q, kind)
	}
	return q
}

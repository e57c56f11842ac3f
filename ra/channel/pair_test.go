package channel

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"shipworm/internal/leak"
	"shipworm/ra/invite"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leak.Patient(m)) }

const (
	userAddr   = "[2001:db8:1::1]:50000"
	helperAddr = "[2001:db8:2::1]:50001"
	password   = "7K2M-Q9TX-04WF"
	wrongWord  = "7K2M-Q9TX-04WG"
)

// A pair is the two sides of one invitation on a network in memory.
type pair struct {
	t        testing.TB
	net      *memNet
	inv      *invite.Invitation
	identity Identity
	user     *memConn
	helper   *memConn
	listener *Listener

	mu       sync.Mutex
	attempts []Attempt
}

func testInvitation(t testing.TB) (*invite.Invitation, Identity) {
	t.Helper()
	inv, err := invite.New("Ada", 0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	identity, hash := NewIdentity()
	inv.CertHash = hash
	return inv, identity
}

func newPair(t testing.TB, delay time.Duration) *pair {
	t.Helper()
	p := &pair{t: t, net: newMemNet(delay)}
	p.inv, p.identity = testInvitation(t)
	p.user, p.helper = p.net.listen(t, userAddr), p.net.listen(t, helperAddr)
	p.listen(p.guard(time.Now()))
	return p
}

// guard makes a guard on Go's clock, which a bubble fakes; now is what the
// wall clock says.
func (p *pair) guard(now time.Time) *Guard {
	p.t.Helper()
	g, err := newGuard(p.inv, password, sinceNow(), now)
	if err != nil {
		p.t.Fatal(err)
	}
	return g
}

func (p *pair) listen(g *Guard) {
	p.t.Helper()
	if p.listener != nil {
		p.listener.Close()
	}
	l, err := Listen(p.user, ListenConfig{Guard: g, Identity: p.identity, OnAttempt: p.note})
	if err != nil {
		p.t.Fatal(err)
	}
	p.listener = l
}

func (p *pair) note(a Attempt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.attempts = append(p.attempts, a)
}

func (p *pair) outcomes() string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for _, a := range p.attempts {
		names = append(names, a.Outcome.String())
	}
	return strings.Join(names, ", ")
}

func (p *pair) config(word string) DialConfig {
	return DialConfig{Invitation: p.inv, Password: word}
}

func (p *pair) dial(word string) (*Conn, error) {
	return Dial(context.Background(), p.helper, p.user.addr, p.config(word))
}

// connect returns both ends of an authenticated connection.
func (p *pair) connect() (user, helper *Conn) {
	p.t.Helper()
	helper, err := p.dial(password)
	if err != nil {
		p.t.Fatal(err)
	}
	if user, err = p.listener.Accept(context.Background()); err != nil {
		p.t.Fatal(err)
	}
	return user, helper
}

// another returns a packet conn of a further Helper.
func (p *pair) another(addr string) *memConn { return p.net.listen(p.t, addr) }

func (p *pair) close() { p.listener.Close() }

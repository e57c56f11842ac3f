package channel

import (
	"crypto/rand"
	"errors"
	"net/netip"
	"sync"
	"time"

	"shipworm/ra/invite"
)

const (
	maxAttempts  = 5  // wrong passwords before the invitation is burned
	maxHalfOpen  = 16 // connections that are not authenticated
	maxPerPrefix = 4  // of them, from one IPv6 /64 or one IPv4 address
)

// A Guard decides who may use one invitation: it holds its secret, counts the
// attempts, watches its life and lets one Helper in. Listeners on several
// sockets share one Guard, so that an attacker does not get five guesses on
// each. Safe for concurrent use.
//
//	open --(a Helper is authenticated)--> used
//	     --(five wrong passwords)-------> burned
//	     --(its life is over)-----------> expired
//
// Only open evaluates passwords. The other states go through the same motions
// with a secret that nobody holds, and so give the same answer, except
// that a used invitation refuses new connections at once.
type Guard struct {
	inv     *invite.Invitation
	secret  []byte
	elapsed func() time.Duration // monotonic
	end     time.Duration        // of the invitation's life, on that clock

	mu       sync.Mutex
	cause    error // why the wait is over; nil while open
	started  int   // attempts evaluated or being evaluated
	wrong    int
	told     int // of the wrong ones, by fail
	halfOpen map[netip.Prefix]int
	total    int // sum of halfOpen
	done     chan struct{}
}

// NewGuard returns a guard over an invitation and its password, in any form
// that [invite.Normalize] takes. The invitation's life runs on the machine's
// monotonic clock from now on: changing the wall clock neither ends nor
// prolongs it. The invitation must not change afterwards.
func NewGuard(inv *invite.Invitation, password string) (*Guard, error) {
	return newGuard(inv, password, sinceBoot(), time.Now())
}

func newGuard(inv *invite.Invitation, password string, elapsed func() time.Duration, now time.Time) (*Guard, error) {
	if inv == nil {
		return nil, errors.New("channel: no invitation")
	}
	secret, err := pakeSecret(inv, password)
	if err != nil {
		return nil, err
	}
	// The invitation may have been made a while ago, or the clock may have
	// been wrong: never longer than its life, nor past its date.
	life := min(inv.Life(), inv.Expires.Sub(now))
	return &Guard{
		inv:      inv,
		secret:   secret,
		elapsed:  elapsed,
		end:      elapsed() + life,
		halfOpen: make(map[netip.Prefix]int),
		done:     make(chan struct{}),
	}, nil
}

// Done is closed when the wait for a Helper is over; Cause says why.
func (g *Guard) Done() <-chan struct{} { return g.done }

// Cause returns nil while the invitation is open, then [ErrUsed], [ErrBurned]
// or [ErrExpired].
func (g *Guard) Cause() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expire()
	return g.cause
}

// Remaining returns how much of the invitation's life is left, at least 0.
func (g *Guard) Remaining() time.Duration { return max(0, g.end-g.elapsed()) }

func (g *Guard) expire() {
	if g.cause == nil && g.elapsed() >= g.end {
		g.finish(ErrExpired)
	}
}

func (g *Guard) finish(cause error) {
	g.cause = cause
	clear(g.secret)
	close(g.done)
}

// A slot is the place of one connection that is not authenticated yet.
type slot struct {
	remote   netip.AddrPort
	deadline time.Time
	release  func()
}

// admit finds a place for a new connection, or refuses it.
func (g *Guard) admit(remote netip.AddrPort) (*slot, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	prefix := budgetPrefix(remote.Addr())
	if g.cause == ErrUsed || g.total >= maxHalfOpen || g.halfOpen[prefix] >= maxPerPrefix {
		return nil, ErrBusy
	}
	g.total++
	g.halfOpen[prefix]++
	return &slot{
		remote:   remote,
		deadline: time.Now().Add(authDeadline),
		release: sync.OnceFunc(func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.total--
			if g.halfOpen[prefix]--; g.halfOpen[prefix] == 0 {
				delete(g.halfOpen, prefix)
			}
		}),
	}, nil
}

// budgetPrefix is what counts as one origin: an IPv4 address, the IPv4 address
// inside a Teredo address (RFC 4380, 4: its last 32 bits, inverted), or a /64.
func budgetPrefix(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return netip.PrefixFrom(a, 32)
	}
	b := a.As16()
	if b[0] == 0x20 && b[1] == 0x01 && b[2] == 0 && b[3] == 0 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}), 32)
	}
	p, _ := a.Prefix(64)
	return p
}

// begin counts an attempt and returns a copy of the secret to evaluate it
// with. Where nothing is evaluated any more it returns a random secret
// instead: the answer is then wrong, and looks like any wrong answer.
func (g *Guard) begin() (secret []byte, evaluated bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expire()
	if g.cause == ErrUsed {
		return nil, false, ErrBusy
	}
	secret = make([]byte, len(g.secret))
	if g.cause != nil || g.started >= maxAttempts {
		rand.Read(secret) // never fails: crypto/rand ends the program instead
		return secret, false, nil
	}
	g.started++
	copy(secret, g.secret)
	return secret, true, nil
}

// claim ends the wait in favour of an authenticated connection; deliver hands
// it over before anybody learns that the wait is over. It fails if the
// invitation ended, or somebody else was faster.
func (g *Guard) claim(deliver func()) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expire()
	if g.cause == ErrUsed {
		return ErrBusy
	}
	if g.cause != nil {
		return g.cause
	}
	deliver()
	g.finish(ErrUsed)
	return nil
}

// fail counts an evaluated attempt that did not succeed, and has tell report
// how many there were, before the last of them ends the wait: whoever hears of
// the end has heard of every attempt.
func (g *Guard) fail(tell func(wrong int)) {
	g.mu.Lock()
	g.wrong++
	wrong := g.wrong
	g.mu.Unlock()
	tell(wrong)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.told++; g.cause == nil && g.told >= maxAttempts {
		g.finish(ErrBurned)
	}
}

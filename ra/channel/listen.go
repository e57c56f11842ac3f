package channel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"shipworm/ra/invite"

	"github.com/quic-go/quic-go"
)

// ListenConfig is what the User's side listens with.
type ListenConfig struct {
	// Invitation and Password make a [Guard] of this listener's own. Where an
	// invitation has several addresses, make one with [NewGuard], set Guard in
	// every listener's config, and leave Password empty.
	Invitation *invite.Invitation
	Password   string
	Guard      *Guard

	// Identity is the certificate whose hash is in the invitation.
	Identity Identity

	// Logger is told of attempts; nil discards. Secrets are never logged.
	Logger *slog.Logger

	// OnAttempt, if not nil, is called once for each Helper who began to
	// prove that he knows the password, when the outcome is known, and for
	// each who came while another one is connected. It is called from several
	// goroutines and may take its time.
	OnAttempt func(Attempt)
}

// String leaves the password out.
func (c ListenConfig) String() string { return fmt.Sprintf("channel.ListenConfig{%v}", c.Invitation) }

// GoString is String.
func (c ListenConfig) GoString() string { return c.String() }

// An Attempt is the outcome of one Helper's try.
type Attempt struct {
	Remote  netip.AddrPort
	Outcome Outcome
	Wrong   int // wrong passwords so far, this one included; 0 unless WrongPassword
}

// An Outcome says how an attempt ended.
type Outcome int

const (
	Accepted      Outcome = iota // this is the session
	WrongPassword                // or it went away in the middle, which counts as wrong
	TooMany                      // not evaluated: the invitation is burned, or five others are being evaluated
	TooLate                      // not evaluated: the invitation has expired
	AlreadyTaken                 // another Helper is connected; whether this one knows the password nobody asked
)

func (o Outcome) String() string {
	switch o {
	case Accepted:
		return "accepted"
	case WrongPassword:
		return "wrong password"
	case TooMany:
		return "too many wrong passwords"
	case TooLate:
		return "the invitation has expired"
	case AlreadyTaken:
		return "another helper is connected"
	}
	return fmt.Sprintf("Outcome(%d)", int(o))
}

// A Listener waits at one address for the Helper of an invitation.
type Listener struct {
	guard     *Guard
	log       *slog.Logger
	onAttempt func(Attempt)
	link      *link
	quic      *quic.Listener

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	conns  chan *Conn                     // holds one at most: the invitation's one session
	denied atomic.Pointer[netip.AddrPort] // who was turned away last
}

// Listen waits on pc for Helpers. The listener starts to read pc at once and
// must be closed. It does not own pc: the caller closes it, after the listener
// and the accepted connection.
func Listen(pc net.PacketConn, cfg ListenConfig) (*Listener, error) {
	guard := cfg.Guard
	if guard == nil {
		var err error
		if guard, err = NewGuard(cfg.Invitation, cfg.Password); err != nil {
			return nil, err
		}
	}
	if cfg.Identity.certificate.PrivateKey == nil {
		return nil, errors.New("channel: no identity")
	}
	l := &Listener{
		guard:     guard,
		log:       silent(cfg.Logger),
		onAttempt: cfg.OnAttempt,
		conns:     make(chan *Conn, 1),
	}
	if l.onAttempt == nil {
		l.onAttempt = func(Attempt) {}
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.link = newLink(newKnock(pc, guard.inv, toHelper, toUser))
	l.link.transport.ConnContext = l.admit
	config := quicConfig()
	config.InitialStreamReceiveWindow = userStreamWindow
	config.InitialConnectionReceiveWindow = userConnWindow
	var err error
	if l.quic, err = l.link.transport.Listen(cfg.Identity.serverTLS(), config); err != nil {
		l.cancel()
		l.link.release()
		return nil, fmt.Errorf("channel: listening: %w", translate(err))
	}
	l.wg.Go(l.serve)
	return l, nil
}

// Accept returns the invitation's one session, or why there is none:
// [ErrExpired], [ErrBurned], [ErrUsed] (taken at another listener of the same
// guard, or by an earlier Accept), net.ErrClosed, or ctx's error.
func (l *Listener) Accept(ctx context.Context) (*Conn, error) {
	for {
		timer := time.NewTimer(max(l.guard.Remaining(), time.Millisecond))
		select {
		case <-timer.C:
			_ = l.guard.Cause() // notices that the life is over
			continue
		case c := <-l.conns:
			timer.Stop()
			return c, nil
		case <-l.guard.Done():
			timer.Stop()
			select {
			case c := <-l.conns:
				return c, nil
			default:
				return nil, l.guard.Cause()
			}
		case <-l.ctx.Done():
			timer.Stop()
			return nil, net.ErrClosed
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
	}
}

// Close ends the wait: no more answers to anybody new. A session that Accept
// returned lives on. It returns when every goroutine of the listener has ended.
func (l *Listener) Close() error {
	l.cancel()
	_ = l.quic.Close()
	l.wg.Wait()
	select {
	case c := <-l.conns:
		_ = c.close(codeGone, "")
	default:
	}
	l.link.release()
	return nil
}

type slotKey struct{}

// admit is asked by QUIC before it keeps anything of a new connection.
func (l *Listener) admit(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	s, err := l.guard.admit(addrPort(info.RemoteAddr))
	if err != nil {
		if errors.Is(l.guard.Cause(), ErrUsed) {
			// A Helper's first flight is several datagrams, and asks for each.
			remote := addrPort(info.RemoteAddr)
			if before := l.denied.Swap(&remote); before == nil || *before != remote {
				l.wg.Go(func() { l.settle(Attempt{Remote: remote, Outcome: AlreadyTaken}) })
			}
		} else {
			l.log.Debug("connection refused", "remote", info.RemoteAddr)
		}
		return nil, err
	}
	context.AfterFunc(ctx, s.release)
	return context.WithValue(ctx, slotKey{}, s), nil
}

func (l *Listener) serve() {
	for {
		qc, err := l.quic.Accept(l.ctx)
		if err != nil {
			return
		}
		l.wg.Go(func() { l.authenticate(qc) })
	}
}

// authenticate runs the exchange with one Helper and settles the attempt.
func (l *Listener) authenticate(qc *quic.Conn) {
	s := qc.Context().Value(slotKey{}).(*slot)
	defer s.release()
	stop := context.AfterFunc(l.ctx, func() { _ = qc.CloseWithError(codeGone, "") })
	defer stop()

	counted, evaluated := false, false
	err := l.exchange(qc, s.deadline, func() (secret []byte, err error) {
		secret, evaluated, err = l.guard.begin()
		counted = true
		return secret, err
	})
	if err == nil {
		if !stop() {
			return // the listener was closed in this moment
		}
		conn := newConn(qc, l.link)
		if err = l.guard.claim(func() { l.conns <- conn }); err == nil {
			l.link.established()
			l.settle(Attempt{Remote: s.remote, Outcome: Accepted})
			return
		}
		conn.link.release()
	}
	if !counted {
		// Nobody tried a password: a connection that came to nothing.
		l.log.Debug("connection given up", "remote", s.remote, "err", translate(err))
		_ = qc.CloseWithError(codeRefused, "")
		return
	}
	a, code := Attempt{Remote: s.remote}, codeRefused
	switch {
	case errors.Is(err, ErrBusy):
		a.Outcome, code = AlreadyTaken, codeBusy
	case errors.Is(err, ErrExpired) || !evaluated && errors.Is(l.guard.Cause(), ErrExpired):
		a.Outcome = TooLate
	case !evaluated || errors.Is(err, ErrBurned):
		a.Outcome = TooMany
	default:
		a.Outcome = WrongPassword
	}
	_ = qc.CloseWithError(code, "")
	if a.Outcome != WrongPassword {
		l.settle(a)
		return
	}
	l.guard.fail(func(wrong int) {
		a.Wrong = wrong
		l.settle(a)
	})
}

func (l *Listener) exchange(qc *quic.Conn, deadline time.Time, begin func() ([]byte, error)) error {
	ctx, cancel := context.WithDeadline(qc.Context(), deadline)
	defer cancel()
	stream, err := qc.AcceptStream(ctx)
	if err != nil {
		return err
	}
	if err := stream.SetDeadline(deadline); err != nil {
		return err
	}
	b, err := newBinding(l.guard.inv.ID, qc.ConnectionState().TLS)
	if err != nil {
		return err
	}
	if err := authenticateUser(stream, b, begin, nil); err != nil {
		return err
	}
	// Nothing follows. Either side may be the first to say so, and the other
	// one's Close then fails: that is no matter.
	stream.CancelRead(0)
	_ = stream.Close()
	return nil
}

func (l *Listener) settle(a Attempt) {
	if a.Outcome == Accepted {
		l.log.Info("helper connected", "remote", a.Remote)
	} else {
		l.log.Warn("helper refused", "remote", a.Remote, "outcome", a.Outcome.String(), "wrong", a.Wrong)
	}
	l.onAttempt(a)
}

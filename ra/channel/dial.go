package channel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"shipworm/ra/invite"

	"github.com/quic-go/quic-go"
)

// DefaultTimeout is how long a dial waits for an answer: Teredo needs up to
// 7 s to open both NATs (TR-07).
const DefaultTimeout = 15 * time.Second

// DialConfig is what the Helper's side dials with.
type DialConfig struct {
	Invitation *invite.Invitation
	Password   string        // in any form that invite.Normalize takes
	Timeout    time.Duration // until authenticated; 0 means DefaultTimeout
	Logger     *slog.Logger  // nil discards

	// skipPin makes tests play a Helper who does not look at the certificate.
	skipPin bool
}

// String leaves the password out.
func (c DialConfig) String() string { return fmt.Sprintf("channel.DialConfig{%v}", c.Invitation) }

// GoString is String.
func (c DialConfig) GoString() string { return c.String() }

// Dial connects to the User's side at one address and authenticates. The
// connection may be used two round trips after the call began. It does not own
// pc, which must serve this dial only: the caller closes it, after the
// connection.
//
// Errors: [ErrUnreachable], [ErrPassword], [ErrBusy], [ErrIdentity],
// [ErrLost], [ErrProtocol], or the cause of ctx if it was cancelled.
func Dial(ctx context.Context, pc net.PacketConn, to netip.AddrPort, cfg DialConfig) (*Conn, error) {
	ctx, cancel := cfg.context(ctx)
	defer cancel()
	p, err := connect(ctx, pc, to, cfg)
	if err != nil {
		return nil, err
	}
	return p.authenticate(ctx)
}

func (c DialConfig) context(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	return context.WithTimeout(ctx, timeout)
}

// A pending is a connection whose certificate is the right one; the password
// was not tried yet. Racing several addresses stops here, so that one Helper
// spends one attempt.
type pending struct {
	quic   *quic.Conn
	link   *link
	secret []byte
	id     [16]byte
	log    *slog.Logger
}

func connect(ctx context.Context, pc net.PacketConn, to netip.AddrPort, cfg DialConfig) (*pending, error) {
	if cfg.Invitation == nil {
		return nil, errors.New("channel: no invitation")
	}
	secret, err := pakeSecret(cfg.Invitation, cfg.Password)
	if err != nil {
		return nil, err
	}
	p := &pending{secret: secret, id: cfg.Invitation.ID, log: silent(cfg.Logger)}
	p.link = newLink(newKnock(pc, cfg.Invitation, toUser, toHelper))
	identity := clientTLS(cfg.Invitation.CertHash)
	if cfg.skipPin {
		identity.VerifyConnection = nil
	}
	config := quicConfig()
	config.HandshakeIdleTimeout = 10 * time.Minute // ctx has the deadline
	p.log.Debug("dialling", "to", to)
	p.quic, err = p.link.transport.Dial(ctx, net.UDPAddrFromAddrPort(to), identity, config)
	if err != nil {
		sendError := p.link.knock.sendError.Load()
		p.link.release()
		switch {
		case errors.Is(context.Cause(ctx), context.Canceled):
			return nil, context.Cause(ctx)
		case errors.Is(err, ErrIdentity):
			return nil, ErrIdentity
		case sendError != nil:
			return nil, fmt.Errorf("%w from %v: %w", ErrUnreachable, to, *sendError)
		case unreachable(ctx, err):
			return nil, fmt.Errorf("%w from %v", ErrUnreachable, to)
		}
		return nil, translate(err)
	}
	return p, nil
}

// authenticate proves the password, and ends the pending in any case.
func (p *pending) authenticate(ctx context.Context) (*Conn, error) {
	defer p.link.release()
	defer clear(p.secret)
	stop := context.AfterFunc(ctx, func() { _ = p.quic.CloseWithError(codeGone, "") })
	defer stop()
	err := p.exchange(ctx)
	if err == nil && stop() {
		p.link.established()
		p.log.Info("connected", "remote", p.quic.RemoteAddr())
		return newConn(p.quic, p.link), nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
		if errors.Is(cause, context.DeadlineExceeded) {
			err = fmt.Errorf("%w from %v", ErrUnreachable, p.quic.RemoteAddr())
		}
	}
	code := codeGone
	if errors.Is(err, ErrPassword) {
		code = codeRefused
	}
	_ = p.quic.CloseWithError(code, "")
	return nil, translate(err)
}

func (p *pending) exchange(ctx context.Context) error {
	stream, err := p.quic.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	b, err := newBinding(p.id, p.quic.ConnectionState().TLS)
	if err != nil {
		return err
	}
	if err := authenticateHelper(stream, b, p.secret, nil); err != nil {
		return err
	}
	// Nothing follows. Either side may be the first to say so, and the other
	// one's Close then fails: that is no matter.
	stream.CancelRead(0)
	_ = stream.Close()
	return nil
}

// abandon ends a pending that lost a race.
func (p *pending) abandon() {
	clear(p.secret)
	_ = p.quic.CloseWithError(codeGone, "")
	p.link.release()
}

package channel

import (
	"context"
	"errors"
	"fmt"
	"net"

	"shipworm/ra/invite"

	"github.com/quic-go/quic-go"
)

var (
	// ErrPassword reports that the other side does not hold the same password
	// and file secret. To the Helper an expired or burned invitation looks
	// the same. It wraps [invite.ErrPassword].
	ErrPassword = fmt.Errorf("refused: %w, or it is no longer valid", invite.ErrPassword)
	// ErrBurned ends the User's wait: too many wrong passwords.
	ErrBurned = errors.New("too many wrong passwords: the invitation is closed")
	// ErrExpired ends the User's wait: the invitation's life is over.
	ErrExpired = errors.New("the invitation has expired")
	// ErrUsed ends the User's wait: the invitation's one session was taken.
	ErrUsed = errors.New("the invitation was used")
	// ErrBusy reports to the Helper that another Helper is connected, or that
	// too many try at once.
	ErrBusy = errors.New("the other side is busy with another helper")
	// ErrIdentity reports that whoever answered is not who made the invitation.
	ErrIdentity = errors.New("the other side's certificate is not that of the invitation")
	// ErrUnreachable reports that nobody answered at an address in time.
	ErrUnreachable = errors.New("no answer")
	// ErrLost reports a peer that was silent for 15 s (RR-01).
	ErrLost = errors.New("connection lost")
	// ErrProtocol reports a peer that broke the rules of QUIC or of this package.
	ErrProtocol = errors.New("protocol error")
)

// ErrClosedByPeer reports that the peer closed the connection, and why.
type ErrClosedByPeer struct {
	Code   uint64 // as the peer gave it to [Conn.Close]
	Reason string // from the peer: clean it before a person sees it
}

func (e *ErrClosedByPeer) Error() string {
	return fmt.Sprintf("closed by the other side: %q (code %d)", e.Reason, e.Code)
}

// ErrStream reports a stream that the peer gave up: it reset its side, or does
// not want to hear more of ours.
type ErrStream struct{ Code uint64 }

func (e *ErrStream) Error() string {
	return fmt.Sprintf("stream given up by the other side (code %d)", e.Code)
}

// Application error codes of QUIC below codeSession are this package's own.
const (
	codeRefused quic.ApplicationErrorCode = 1 // wrong, expired, burned: one answer
	codeBusy    quic.ApplicationErrorCode = 2
	codeGone    quic.ApplicationErrorCode = 3 // the caller gave up before authentication
	codeSession quic.ApplicationErrorCode = 0x100
)

// translate turns an error of QUIC into one of ours; others pass.
func translate(err error) error {
	var app *quic.ApplicationError
	var stream *quic.StreamError
	var idle *quic.IdleTimeoutError
	var reset *quic.StatelessResetError
	var transport *quic.TransportError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &app):
		switch {
		case !app.Remote:
			return net.ErrClosed
		case app.ErrorCode >= codeSession:
			return &ErrClosedByPeer{uint64(app.ErrorCode - codeSession), app.ErrorMessage}
		case app.ErrorCode == codeRefused:
			return ErrPassword
		case app.ErrorCode == codeBusy:
			return ErrBusy
		case app.ErrorCode == codeGone:
			return fmt.Errorf("%w: the other side gave up", ErrLost)
		}
		return fmt.Errorf("%w: close code %d", ErrProtocol, app.ErrorCode)
	case errors.As(err, &stream):
		if !stream.Remote {
			return net.ErrClosed
		}
		return &ErrStream{uint64(stream.ErrorCode)}
	case errors.As(err, &idle), errors.As(err, &reset):
		return ErrLost
	case errors.As(err, &transport):
		if transport.Remote && transport.ErrorCode == quic.ConnectionRefused {
			return ErrBusy
		}
		return fmt.Errorf("%w: %v", ErrProtocol, transport)
	case errors.Is(err, quic.ErrTransportClosed), errors.Is(err, quic.ErrServerClosed):
		return net.ErrClosed
	}
	return err
}

// unreachable says whether a failed dial means that nobody answered.
func unreachable(ctx context.Context, err error) bool {
	var idle *quic.IdleTimeoutError
	var handshake *quic.HandshakeTimeoutError
	return errors.As(err, &idle) || errors.As(err, &handshake) ||
		errors.Is(context.Cause(ctx), context.DeadlineExceeded)
}

package ra

import (
	"errors"

	"shipworm/ra/channel"
	"shipworm/ra/session"
)

// How a session can end, besides by somebody's wish (Run then returns nil) and
// by the errors of package channel. The text of what Run returns is one line
// for a person; errors.Is tells them apart.
var (
	// ErrRefused reports that the User did not consent to show his desktop.
	ErrRefused = errors.New("consent refused")
	// ErrLost reports that the other side vanished.
	ErrLost = channel.ErrLost
	// ErrProtocol reports a peer that broke the rules, or speaks others.
	ErrProtocol = session.ErrProtocol
	// ErrBusy reports a User who is being helped already.
	ErrBusy = channel.ErrBusy
	// ErrPeerFailed reports that the other side's program failed.
	ErrPeerFailed = errors.New("the other side's program has failed")
	// ErrInUse reports a file in the invitation's place that is none.
	ErrInUse = errors.New("the file exists and is no invitation")
)

// refusedReason is the end of a Helper who was refused: he is not told why
//
const refusedReason = "wrong password, or the invitation is no longer valid"

// endError is the reason of an end, and which of the errors above it is.
type endError struct {
	reason string
	kind   error
}

func (e *endError) Error() string { return e.reason }
func (e *endError) Unwrap() error { return e.kind }

// errorOf turns an end into what Run returns; cause is what ended the session
// from outside of it, if anything did.
func errorOf(e *session.End, cause error) error {
	switch {
	case e == nil || e.Clean:
		return nil
	case cause != nil:
		return &endError{e.Reason, cause}
	case e.Lost:
		return &endError{e.Reason, ErrLost}
	}
	kind := ErrPeerFailed
	switch e.Code {
	case session.ByeRefused, session.ByeNoAnswer:
		kind = ErrRefused
	case session.ByeProtocol, session.ByeVersion:
		kind = ErrProtocol
	case session.ByeBusy:
		kind = ErrBusy
	}
	return &endError{e.Reason, kind}
}

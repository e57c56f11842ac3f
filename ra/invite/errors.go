package invite

import (
	"errors"
	"fmt"
)

var (
	// ErrPassword reports a password that does not open the invitation, or
	// that cannot be one. A file that was changed on purpose, digest
	// included, looks the same.
	ErrPassword = errors.New("the password does not fit this invitation")
	// ErrDamaged reports an invitation file that was damaged on its way.
	ErrDamaged = errors.New("the invitation file is damaged")
	// ErrForeign reports one of Windows' own tickets.
	ErrForeign = errors.New("this is an invitation of Windows Remote Assistance, which another program must open")
	// ErrVersion reports an invitation of a format that this version cannot read.
	ErrVersion = errors.New("the invitation was made by another version of this program")
	// ErrNotInvitation reports a file that is no invitation at all.
	ErrNotInvitation = errors.New("this file is not an invitation")
	// ErrCost reports key derivation parameters outside the bounds that a
	// reader accepts: the file wants to exhaust the machine.
	ErrCost = errors.New("the invitation asks for an unreasonable key derivation")
)

// A FormatError says where and why a file is not a well-formed invitation.
// It wraps one of the sentinels above.
type FormatError struct {
	Offset int64  // byte offset in the file at which the reader gave up
	Reason string // for a person who debugs the file
	Err    error  // [ErrDamaged], [ErrNotInvitation], [ErrForeign], [ErrVersion] or [ErrCost]
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%v: %s (at byte %d)", e.Err, e.Reason, e.Offset)
}

func (e *FormatError) Unwrap() error { return e.Err }

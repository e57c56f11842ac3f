package main

import (
	"errors"
	"fmt"
	"io/fs"
)

// Exit codes of the whole command line.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitNegative    = 3 // a negative result: not qualified, blocked
	exitPermission  = 4
	exitCrashed     = 70 // a fault of the program itself
	exitInterrupted = 130
)

// exitError carries an exit code and, where one helps, a hint for the person.
// Without err it ends the program silently: another program has spoken.
type exitError struct {
	code int
	hint string
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}
func (e *exitError) Unwrap() error { return e.err }

func usageError(err error) error    { return &exitError{code: exitUsage, err: err} }
func negativeError(err error) error { return &exitError{code: exitNegative, err: err} }

// withHint adds the line a person needs next to an error; the code stays.
func withHint(err error, hint string) error {
	code := exitFailure
	var e *exitError
	switch {
	case errors.As(err, &e):
		code = e.code
	case errors.Is(err, fs.ErrPermission):
		code = exitPermission
	}
	return &exitError{code: code, hint: hint, err: err}
}

func hintOf(err error) string {
	var e *exitError
	if errors.As(err, &e) {
		return e.hint
	}
	return ""
}

func isSilent(err error) bool {
	var e *exitError
	return errors.As(err, &e) && e.err == nil
}

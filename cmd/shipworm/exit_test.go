package main

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

// A hint changes nothing about the exit code, which comes from the cause.
func TestHintKeepsExitCode(t *testing.T) {
	for _, err := range []error{
		errors.New("broken"),
		negativeError(errors.New("no")),
		usageError(errors.New("what?")),
		fmt.Errorf("open: %w", fs.ErrPermission),
		fmt.Errorf("probe: %w", negativeError(fs.ErrPermission)),
	} {
		hinted := withHint(err, "do this")
		if got, want := exitCode(t.Context(), hinted), exitCode(t.Context(), err); got != want {
			t.Errorf("%v: exit code %d, without a hint %d", err, got, want)
		}
		if hintOf(hinted) != "do this" || hinted.Error() != err.Error() {
			t.Errorf("%v: %v, %q", err, hinted, hintOf(hinted))
		}
	}
}

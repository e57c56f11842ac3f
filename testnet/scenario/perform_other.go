//go:build !linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

// Perform runs a scenario in the laboratory, which needs the network
// namespaces of Linux: elsewhere it is an error.
func Perform(context.Context, *Scenario, Options) (*Result, error) {
	return nil, fmt.Errorf("scenario: no network namespaces on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

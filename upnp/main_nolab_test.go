//go:build !lab

package upnp

import (
	"testing"

	"go.uber.org/goleak"

	"shipworm/internal/leak"
)

// L-06: no test leaves a goroutine.
func TestMain(m *testing.M) { goleak.VerifyTestMain(leak.Patient(m)) }

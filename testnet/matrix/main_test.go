package matrix_test

import (
	"testing"

	"go.uber.org/goleak"

	"shipworm/internal/leak"
)

// No goroutine outlives a test. (L-06)
func TestMain(m *testing.M) { goleak.VerifyTestMain(leak.Patient(m)) }

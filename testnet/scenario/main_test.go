package scenario

import (
	"testing"

	"go.uber.org/goleak"
)

// No goroutine outlives a test. (L-06)
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

package server

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"shipworm/internal/leak"
)

func TestMain(m *testing.M) {
	if inside, code := enterLab(); !inside {
		os.Exit(code)
	}
	goleak.VerifyTestMain(leak.Patient(m))
}

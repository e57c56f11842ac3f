package server

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if inside, code := enterLab(); !inside {
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}

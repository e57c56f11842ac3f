package igd

import (
	"os"
	"testing"

	"shipworm/internal/leak"

	"go.uber.org/goleak"
)

// TestMain sets a proxy that nothing may use, before anything can ask for it:
// net/http looks once. U-02
func TestMain(m *testing.M) {
	os.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	goleak.VerifyTestMain(leak.Patient(m))
}

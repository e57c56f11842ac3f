package devicetest

import (
	"testing"

	"go.uber.org/goleak"

	"shipworm/internal/leak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leak.Patient(m)) }

// TestMemory: the device of the other tests keeps the rules as well.
func TestMemory(t *testing.T) {
	Run(t, func(t *testing.T, mtu int) *Host {
		m := NewMemory()
		if err := m.SetAddr(Addr); err != nil {
			t.Fatal(err)
		}
		return &Host{Device: m, Socket: m.Socket(Addr, Port), WriteAllocs: 1}
	})
}

//go:build linux

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"go.uber.org/goleak"

	"shipworm/internal/leak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leak.Patient(m)) }

// A runner counts what arrives of its own order, whether or not another was
// before, and goes on where nobody tells it anything.
func TestRuns(t *testing.T) {
	// The ports are fixed, and others may run this test at the same time.
	net := rand.Uint32N(1 << 22)
	address := func(i uint32) string { return fmt.Sprintf("127.%d.%d.%d", 1+net>>15, net>>7&255, net&127<<1|i) }
	runner := func(own, peer uint32) map[string]func(order) (answer, error) {
		_, orders, err := runsRole(t.Context(), []string{address(own), address(peer)})
		if err != nil {
			t.Fatal(err)
		}
		return orders
	}
	a := runner(0, 1)
	if _, err := a["wake"](order{}); err == nil {
		t.Error("awake without the other end")
	}
	if got, err := a["tcp"](order{For: 20 * time.Millisecond}); err != nil || got.Bytes != 0 {
		t.Errorf("to nobody: %+v, %v", got, err)
	}
	b := runner(1, 0)
	for _, from := range []map[string]func(order) (answer, error){a, b, a} {
		var got answer
		err := errors.New("not asked")
		for try := 0; try < 100 && (err != nil || got.Bytes == 0); try++ { // the reader may not have had the processor yet
			if _, err = from["wake"](order{}); err == nil {
				got, err = from["tcp"](order{For: 20 * time.Millisecond})
			}
		}
		if err != nil || got.Bytes <= 0 || got.Bytes%innerPayload != 0 || got.Took < 20*time.Millisecond {
			t.Errorf("%+v, %v", got, err)
		}
		// Not more than memory moves.
		if rate := float64(got.Bytes) / got.Took.Seconds(); rate > 1e12 {
			t.Errorf("%.0f bytes a second", rate)
		}
	}
}

package leak

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

// tests are a run that leaves a goroutine behind, which ends with end.
type tests struct {
	code int
	end  chan struct{}
}

func (r tests) Run() int {
	go func() { <-r.end }()
	return r.code
}

// A goroutine that ends late is no leak; tests that failed are not waited for.
func TestPatient(t *testing.T) {
	r := tests{1, make(chan struct{})}
	if code := Patient(r).Run(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	close(r.end)
	r = tests{0, make(chan struct{})}
	time.AfterFunc(time.Second, func() { close(r.end) })
	if code := Patient(r).Run(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if err := goleak.Find(); err != nil {
		t.Errorf("it was not waited for: %v", err)
	}
}

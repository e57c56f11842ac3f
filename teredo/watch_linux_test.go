package teredo

import (
	"testing"
	"time"
)

// A single change is reported within 200 ms; changes without end are at most
// one solicitation each two seconds. TR-03
func TestSettle(t *testing.T) {
	if p := settle(0, time.Hour); p != linkSettle || p > 200*time.Millisecond {
		t.Errorf("first change: %v", p)
	}
	var pause, total time.Duration
	n := 0
	for ; total < time.Hour; total += pause {
		pause = settle(pause, 0)
		n++
	}
	if n > 1810 {
		t.Errorf("%d reports in an hour of changes", n)
	}
	if p := settle(pause, linkQuiet+1); p != linkSettle {
		t.Errorf("after a quiet while: %v", p)
	}
}

package teredo

import (
	"testing"
	"time"
)

// The first changes are reported within 200 ms; changes without end are at
// most one solicitation each two seconds. TR-03
func TestSettle(t *testing.T) {
	if p := settle(0); p > 200*time.Millisecond {
		t.Errorf("first change: %v", p)
	}
	n := 0
	for total := time.Duration(0); total < time.Hour; total += settle(n) {
		n++
	}
	if n > 1810 {
		t.Errorf("%d reports in an hour of changes", n)
	}
}

// Package leak has the look for goroutines that tests left behind wait for
// those that are about to end. goleak alone waits for less than half a second:
// net/http keeps the goroutine of a connection that it has closed for longer
// than that, and a busy machine any goroutine.
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(leak.Patient(m)) }
package leak

import (
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines may take to end after the last test.
const patience = time.Minute

// Patient returns m with a Run that, where m's own returns 0, returns once
// goleak finds nothing, or after a minute. The options are those for goleak
// itself, without Cleanup.
func Patient(m goleak.TestingM, options ...goleak.Option) goleak.TestingM {
	return patient{m, options}
}

type patient struct {
	m       goleak.TestingM
	options []goleak.Option
}

func (p patient) Run() int {
	code := p.m.Run()
	for end := time.Now().Add(patience); code == 0 && time.Now().Before(end); {
		if goleak.Find(p.options...) == nil {
			break
		}
	}
	return code
}

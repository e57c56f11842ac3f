//go:build lab && linux

package lab_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"shipworm/testnet/lab"
	"shipworm/testnet/link"
)

var pingTime = regexp.MustCompile(`time=([0-9.]+) ms`)

// roundTrips returns the fastest and the median round trip of n pings from h, the
// first left out: it also pays for the wake-up of everything on the way.
func roundTrips(t *testing.T, h *lab.Host, to string, n int) (fastest, median time.Duration, err error) {
	t.Helper()
	out := output(t, h, "ping", "-n", "-i", "0.02", "-c", fmt.Sprint(n+1), to)
	var all []time.Duration
	for _, m := range pingTime.FindAllStringSubmatch(out, -1) {
		ms, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return 0, 0, err
		}
		all = append(all, time.Duration(ms*float64(time.Millisecond)))
	}
	if len(all) != n+1 {
		return 0, 0, fmt.Errorf("%d answers of %d:\n%s", len(all), n+1, out)
	}
	all = all[1:]
	slices.Sort(all)
	t.Logf("round trips: fastest %v, median %v, slowest %v", all[0], all[n/2], all[n-1])
	return all[0], all[n/2], nil
}

// The clock of the laboratory is real: a round trip takes the delays of the
// lines that it crosses, to a fraction of a millisecond. On a machine that is
// slow, or busy elsewhere, ping itself is late: the best of several runs counts,
// in which the median may be a few milliseconds late, and the fastest one.
func TestRoundTrip(t *testing.T) {
	const tries = 30
	for _, delay := range []time.Duration{0, 500 * time.Microsecond, 5 * time.Millisecond, 40 * time.Millisecond} {
		t.Run(delay.String(), func(t *testing.T) {
			_, home, _ := newLab(t, "port-restricted", link.Config{Delay: delay})
			var last error
			for range tries {
				fastest, median, err := roundTrips(t, home, "server", 20)
				last = fmt.Errorf("round trips of %v at least and %v in the middle over a line of %v each way", fastest, median, delay)
				switch {
				case err != nil:
					last = err
				case fastest < 2*delay:
					t.Fatal(last)
				case fastest <= 2*delay+time.Millisecond && median <= 2*delay+5*time.Millisecond:
					return
				}
			}
			t.Error(last)
		})
	}
}

package natprobe

import (
	"flag"
	"fmt"
	"testing"

	"shipworm/natprobe/report"
	"shipworm/testnet/link"
)

// A tally counts the verdicts of many runs.
type tally struct{ runs, right, unknown, wrong int }

// judge runs one network with one seed. A verdict is wrong if it names another
// behaviour; what is unknown is neither right nor wrong.
func (y *tally) judge(t testing.TB, s setup, seed uint64, line link.Config) {
	line.Delay += 20 * ms
	r := newRig(t, seed, 0, s.routers...)
	var err error
	if len(r.routers) > 0 {
		err = r.routers[0].SetLink(line)
	} else {
		err = r.client.SetLink(line)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.server(correct, "198.51.100.1", "198.51.100.2")
	r.run(Config{})
	mapping, _ := r.m.mappingVerdict()
	filtering, _ := r.m.filteringVerdict()
	y.runs++
	switch {
	case mapping == s.mapping && filtering == s.filtering && r.m.translated() == s.nat:
		y.right++
	case mapping != s.mapping && mapping != report.BehaviorUnknown, filtering != s.filtering && filtering != report.BehaviorUnknown,
		r.m.translated() != s.nat && r.m.translated() != report.Unknown:
		y.wrong++
	default:
		y.unknown++
	}
}

// Lines that are bad in other ways than losing single packets: verdicts are
// right, and rather unknown than wrong.
func TestRoughLines(t *testing.T) {
	for name, line := range map[string]link.Config{
		"jitter":            {Jitter: 20 * ms},
		"losses in runs":    {Loss: 0.1, Burst: 3},
		"disorder":          {Reorder: 0.3, Duplicate: 0.3},
		"64 kbit/s":         {Rate: 64000},
		"a satellite":       {Delay: 380 * ms, Loss: 0.1},
		"jitter beyond RTT": {Jitter: 60 * ms},
	} {
		var y tally
		for _, s := range setups(t) {
			for seed := range uint64(20) {
				y.judge(t, s, seed+1, line)
			}
		}
		if y.wrong > 0 || y.right < y.runs*97/100 {
			t.Errorf("%s: %+v", name, y)
		}
	}
}

// N-04: where nearly everything gets lost, silence says nothing: what is open is
// called filtered in no more than one run of a hundred.
func TestHeavyLoss(t *testing.T) {
	for _, loss := range []float64{0.4, 0.5, 0.6} {
		var y tally
		for _, s := range setups(t) {
			if s.filtering != report.EndpointIndependent {
				continue
			}
			for seed := range uint64(200) {
				y.judge(t, s, seed+1, link.Config{Loss: loss})
			}
		}
		t.Logf("%.0f %%: %+v", 100*loss, y)
		if y.wrong > y.runs/100 {
			t.Errorf("%.0f %%: %+v", 100*loss, y)
		}
	}
}

var seeds = flag.Int("seeds", 200, "runs of BenchmarkAccuracy for each NAT and loss")

// BenchmarkAccuracy prints how often each kind of NAT is named right under
// loss in each direction (N-04).
func BenchmarkAccuracy(b *testing.B) {
	if b.N > 1 {
		return // the table is the result, and it is printed
	}
	fmt.Printf("%-18s %6s %6s %8s %6s %6s\n", "NAT", "loss", "runs", "right", "unsure", "wrong")
	for _, s := range setups(b) {
		for _, loss := range []float64{0, 0.1, 0.2} {
			var y tally
			for seed := range uint64(*seeds) {
				y.judge(b, s, seed+1, link.Config{Loss: loss})
			}
			fmt.Printf("%-18s %5.0f%% %6d %7.2f%% %6d %6d\n", s.name, 100*loss, y.runs, 100*float64(y.right)/float64(y.runs), y.unknown, y.wrong)
		}
	}
}

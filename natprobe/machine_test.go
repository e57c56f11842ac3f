package natprobe

import (
	"testing"
	"time"

	"shipworm/natprobe/report"
)

// Every kind of NAT is named, in the time that its filter leaves.
func TestKinds(t *testing.T) {
	for _, s := range setups(t) {
		t.Run(s.name, func(t *testing.T) {
			r := newRig(t, 1, 0, s.routers...)
			r.server(correct, "198.51.100.1", "198.51.100.2")
			took := r.run(Config{})
			mapping, _ := r.m.mappingVerdict()
			filtering, _ := r.m.filteringVerdict()
			if mapping != s.mapping || filtering != s.filtering || r.m.translated() != s.nat {
				t.Errorf("mapping %d, filtering %d, NAT %d (%s); want %d, %d, %d", mapping, filtering, r.m.translated(), r.words(), s.mapping, s.filtering, s.nat)
			}
			limit := 6 * rtt
			switch {
			case s.mapping == report.BehaviorUnknown:
				limit = 2 * time.Second
			case s.filtering == report.EndpointIndependent:
				limit = 2*rtt + 5*ms
			}
			if took > limit {
				t.Errorf("took %v, want at most %v", took, limit)
			}
			t.Logf("%v, %+v", took, r.m.count)
		})
	}
}

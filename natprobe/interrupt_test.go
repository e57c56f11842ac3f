package natprobe

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"shipworm/natprobe/report"
	"shipworm/testnet/nat"
)

// Whenever a probe is interrupted, what its report knows is right: nothing is
// concluded from answers that there was no time for.
func TestInterrupted(t *testing.T) {
	tests := Tests{Ports: true, Hairpin: true, Fragments: true, MTU: true, Layers: true}
	for _, s := range setups(t) {
		run := func(stop time.Duration) *report.Report {
			r := newRig(t, 1, 0, s.routers...)
			r.tcp = tcpOpen
			r.stop = stop
			r.server(correct, a1, a2)
			r.run(Config{Tests: tests})
			return r.m.report()
		}
		whole := run(0)
		if whole.Interrupted {
			t.Fatalf("%s: a run of its own length is interrupted", s.name)
		}
		end := time.Duration(whole.Duration)
		for stop := time.Millisecond; stop < end; stop += 7 * ms {
			got := run(stop)
			if !got.Interrupted {
				t.Fatalf("%s after %v: not interrupted", s.name, stop)
			}
			wrong := func(what string, known, same bool) {
				if known && !same {
					t.Errorf("%s after %v of %v: %s is wrong: %+v", s.name, stop, end, what, got)
				}
			}
			wrong("access", got.Access != report.AccessUnknown, got.Access == whole.Access)
			wrong("silence", got.Silence != report.Answered && got.Silence != report.SilenceUnknown, false)
			wrong("mapping", got.Mapping != report.BehaviorUnknown, got.Mapping == s.mapping)
			wrong("filtering", got.Filtering != report.BehaviorUnknown, got.Filtering == s.filtering)
			for _, v := range []struct {
				what      string
				got, true report.Verdict
			}{
				{"parity", got.Parity, whole.Parity}, {"contiguity", got.Contiguity, whole.Contiguity},
				{"determinism", got.Deterministic, whole.Deterministic}, {"port preservation", got.PortPreserving, whole.PortPreserving},
				{"hairpin", got.Hairpin.Verdict, whole.Hairpin.Verdict}, {"early inbound", got.EarlyInbound, whole.EarlyInbound},
				{"fragments out", got.Fragments.Out, whole.Fragments.Out}, {"fragments in", got.Fragments.In, whole.Fragments.In},
				{"ALG", got.ALG, whole.ALG},
			} {
				wrong(v.what, v.got > report.Unknown, v.got == v.true)
			}
			for _, e := range got.Evidence {
				sound := slices.Contains(whole.Evidence, e) || e.Text == interrupted
				wrong("evidence "+e.Text, true, sound)
			}
			wrong("MTU", got.MTU > 0, got.MTU == whole.MTU)
			wrong("pooling", got.Pooling != report.PoolingUnknown, got.Pooling == whole.Pooling)
			wrong("allocation", got.Allocation.Kind != report.AllocationUnknown, got.Allocation.Kind == whole.Allocation.Kind)
		}
	}
}

// The same for times: a bound that is known is right, and the rest is not
// tested.
func TestInterruptedLifetimes(t *testing.T) {
	run := func(stop time.Duration) *report.Report {
		r := newRig(t, 1, 0, profile(t, "linux"))
		r.stop = stop
		r.server(correct, a1, a2)
		r.run(Config{Tests: Tests{Lifetime: time.Minute}})
		return r.m.report()
	}
	whole := run(0)
	end := time.Duration(whole.Duration)
	check := func(stop time.Duration) {
		got := run(stop)
		const truth = report.Duration(30 * time.Second)
		if b := got.Lifetimes.Single; b.Alive >= truth || b.Dead > 0 && b.Dead < truth {
			t.Errorf("after %v: %+v", stop, b)
		}
		if v := got.Lifetimes.InboundRefresh; v > report.Unknown && v != whole.Lifetimes.InboundRefresh {
			t.Errorf("after %v of %v: inbound refresh %v, in the end %v", stop, end, v, whole.Lifetimes.InboundRefresh)
		}
		for _, e := range got.Evidence {
			if e.For == "lifetimes" {
				t.Errorf("after %v: %v", stop, e)
			}
		}
	}
	for stop := 10 * ms; stop < time.Second; stop += 20 * ms {
		check(stop)
	}
	for stop := time.Second; stop < end; stop += 7 * time.Second {
		check(stop)
	}
	for stop := end - 300*ms; stop < end; stop += 5 * ms { // the last mapping is tried
		check(stop)
	}
}

// A prober that is interrupted returns both what it knows and why it ended, in
// whichever pass that was.
func TestRunInterrupted(t *testing.T) {
	c := Config{Tests: Tests{Lifetime: time.Minute}}
	bubble(t, c, []nat.Config{profile(t, "linux")}, func(r *rig) { r.server(correct, a1, a2) }, func(t *testing.T, r *rig, p *Prober) {
		for _, tt := range []struct {
			after time.Duration
			known bool
		}{{10 * ms, false}, {30 * time.Second, true}} {
			ctx, cancel := context.WithTimeout(t.Context(), tt.after)
			got, err := p.Run(ctx)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || got == nil || !got.Interrupted {
				t.Fatalf("%v: %+v", err, got)
			}
			if known := got.Filtering == report.AddressAndPortDependent; known != tt.known || time.Duration(got.Duration) > tt.after {
				t.Errorf("after %v: %+v", tt.after, got)
			}
			time.Sleep(time.Minute)
		}
	})
}

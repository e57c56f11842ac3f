package report

import (
	"fmt"
	"net/netip"
)

// Changes returns what is different from one report to the next, a line each
// in plain English, the most important first. What one of them did not test or
// does not know is no change, nor are times, ports that a new socket gets
// anyway, and evidence.
func Changes(from, to *Report) []string {
	var out []string
	add := func(what string, a, b fmt.Stringer, known bool) {
		if known && a.String() != b.String() {
			out = append(out, fmt.Sprintf("%s: %v, was %v", what, b, a))
		}
	}
	verdict := func(what string, a, b Verdict) { add(what, a, b, a > Unknown && b > Unknown) }
	add("access", from.Access, to.Access, from.Access > 0 && to.Access > 0)
	if a, b := from.Silence == Answered, to.Silence == Answered; a != b {
		out = append(out, map[bool]string{true: "servers answer again", false: "no server answers any more"}[b])
	}
	addr := func(ap netip.AddrPort) netip.Addr { return ap.Addr() }
	add("external address", addr(from.Mapped), addr(to.Mapped), from.Mapped.IsValid() && to.Mapped.IsValid())
	add("local address", addr(from.Local), addr(to.Local), from.Local.IsValid() && to.Local.IsValid())
	add("mapping", from.Mapping, to.Mapping, from.Mapping > 0 && to.Mapping > 0)
	add("filtering", from.Filtering, to.Filtering, from.Filtering > 0 && to.Filtering > 0)
	verdict("port preservation", from.PortPreserving, to.PortPreserving)
	add("allocation", from.Allocation.Kind, to.Allocation.Kind, from.Allocation.Kind > 0 && to.Allocation.Kind > 0)
	add("pooling", from.Pooling, to.Pooling, from.Pooling > 0 && to.Pooling > 0)
	verdict("hairpin", from.Hairpin.Verdict, to.Hairpin.Verdict)
	verdict("fragments out", from.Fragments.Out, to.Fragments.Out)
	verdict("fragments in", from.Fragments.In, to.Fragments.In)
	verdict("ALG", from.ALG, to.ALG)
	verdict("carrier-grade NAT", from.CGNAT, to.CGNAT)
	switch {
	case from.IPv6 == nil && to.IPv6 == nil:
	case from.IPv6 == nil:
		out = append(out, "IPv6: there is some now")
	case to.IPv6 == nil:
		out = append(out, "IPv6: there is none any more")
	default:
		for _, c := range Changes(from.IPv6, to.IPv6) {
			out = append(out, "IPv6 "+c)
		}
	}
	return out
}

// Carry returns a copy of a report in which what it does not know, and an
// earlier one did, is as it was then: who watches compares the next report with
// it, and sees what changed while no server answered.
func Carry(before, r *Report) *Report {
	out := *r
	if !out.Mapped.IsValid() {
		out.Mapped = before.Mapped
	}
	if !out.Local.IsValid() {
		out.Local = before.Local
	}
	carry(&out.Access, before.Access, AccessUnknown)
	carry(&out.Mapping, before.Mapping, BehaviorUnknown)
	carry(&out.Filtering, before.Filtering, BehaviorUnknown)
	carry(&out.PortPreserving, before.PortPreserving, Unknown)
	carry(&out.Allocation.Kind, before.Allocation.Kind, AllocationUnknown)
	carry(&out.Pooling, before.Pooling, PoolingUnknown)
	carry(&out.Hairpin.Verdict, before.Hairpin.Verdict, Unknown)
	carry(&out.Fragments.Out, before.Fragments.Out, Unknown)
	carry(&out.Fragments.In, before.Fragments.In, Unknown)
	carry(&out.ALG, before.ALG, Unknown)
	carry(&out.CGNAT, before.CGNAT, Unknown)
	if out.IPv6 != nil && before.IPv6 != nil {
		out.IPv6 = Carry(before.IPv6, out.IPv6)
	}
	return &out
}

func carry[T ~uint8](v *T, before, unknown T) {
	if *v <= unknown {
		*v = before
	}
}

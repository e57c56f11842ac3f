package main

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"shipworm/natprobe/report"
)

func probed() *report.Report {
	return &report.Report{
		Time:  time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Local: netip.MustParseAddrPort("192.168.1.2:4000"), Mapped: netip.MustParseAddrPort("203.0.113.7:4000"),
		Access: report.NAT, Mapping: report.EndpointIndependent, Filtering: report.AddressAndPortDependent,
	}
}

// When watching, the first report is printed whole and then what changes; as
// JSON each report is one line.
func TestProbeShow(t *testing.T) {
	later := probed()
	later.Time = later.Time.Add(time.Minute)
	later.Filtering = report.EndpointIndependent
	for _, c := range []struct {
		name  string
		f     probeFlags
		last  *report.Report
		lines int
		want  string
	}{
		{"first", probeFlags{watch: true}, nil, -1, "Access                  : behind a NAT\n"},
		{"change", probeFlags{watch: true}, probed(), 1, "2026-03-01 12:01:00 filtering: endpoint-independent, was address-and-port-dependent\n"},
		{"no change", probeFlags{watch: true}, later, 0, ""},
		{"JSON", probeFlags{json: true}, nil, -1, "{\n  \"schema\": 1,\n"},
		{"JSON lines", probeFlags{json: true, watch: true}, later, 1, `{"schema":1,`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := c.f.show(&b, c.last, later); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(b.String(), "\n"); c.lines >= 0 && n != c.lines || !strings.Contains(b.String(), c.want) {
				t.Errorf("%d lines, want %d with %q:\n%s", n, c.lines, c.want, &b)
			}
		})
	}
}

// Exit codes of what a probe finds. C-06
func TestProbeResult(t *testing.T) {
	ok, unknown, noNAT, silent, blocked := probed(), probed(), probed(), probed(), probed()
	unknown.Mapping = report.BehaviorUnknown
	noNAT.Access = report.AccessUnknown
	silent.Silence = report.SilenceUnknown
	blocked.Access = report.Blocked
	for name, c := range map[string]struct {
		r    *report.Report
		code int
	}{"known": {ok, exitOK}, "mapping unknown": {unknown, exitNegative}, "perhaps a firewall": {noNAT, exitNegative}, "silence": {silent, exitNegative}, "blocked": {blocked, exitNegative}} {
		err := probeResult(c.r)
		var e *exitError
		if code := map[bool]int{true: exitNegative, false: exitOK}[errors.As(err, &e) && e.code == exitNegative]; code != c.code || err != nil && hintOf(err) == "" {
			t.Errorf("%s: %v, hint %q", name, err, hintOf(err))
		}
	}
}

package trace_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"shipworm/testnet/link"
	"shipworm/testnet/trace"
)

// A filter takes whole journeys, by node, by flow on either side of a NAT, by
// fate.
func TestFilter(t *testing.T) {
	r := record(t, 1, trace.Config{})
	inside := netip.MustParseAddrPort("192.168.1.2:5000")
	any := netip.AddrPort{}
	for _, c := range []struct {
		name string
		f    trace.Filter
		want []uint64
	}{
		{"all", trace.Filter{}, []uint64{1, 2, 3, 4, 5, 6}},
		{"server", trace.Filter{Nodes: []string{"server"}}, []uint64{1, 2}},
		{"alice", trace.Filter{Nodes: []string{"alice"}}, []uint64{3, 4, 5, 6}},
		{"two hosts", trace.Filter{Nodes: []string{"alice", "server"}}, []uint64{1, 2, 3, 4, 5, 6}},
		{"a stranger", trace.Filter{Nodes: []string{"nobody"}}, nil},
		{"flow outside", trace.Filter{Flow: [2]netip.AddrPort{aliceAt, bobAt}}, []uint64{3, 4, 5, 6}},
		{"flow outside, turned", trace.Filter{Flow: [2]netip.AddrPort{bobAt, aliceAt}}, []uint64{3, 4, 5, 6}},
		{"flow inside", trace.Filter{Flow: [2]netip.AddrPort{inside, bobAt}}, []uint64{3, 4, 5, 6}},
		{"one end", trace.Filter{Flow: [2]netip.AddrPort{any, serverAt}}, []uint64{1, 2}},
		{"a port", trace.Filter{Flow: [2]netip.AddrPort{netip.AddrPortFrom(netip.Addr{}, 3544)}}, []uint64{1, 2}},
		{"an address", trace.Filter{Flow: [2]netip.AddrPort{netip.AddrPortFrom(aliceAt.Addr(), 0)}}, []uint64{3, 4, 5, 6}},
		{"other port", trace.Filter{Flow: [2]netip.AddrPort{netip.AddrPortFrom(aliceAt.Addr(), 1)}}, nil},
		{"dropped", trace.Filter{Dropped: true}, []uint64{3, 6}},
		{"dropped at bob's", trace.Filter{Dropped: true, Nodes: []string{"home of bob"}}, []uint64{3}},
		{"first", trace.Filter{Limit: 3}, []uint64{1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := r.Trace(c.f)
			var events, packets []uint64
			for _, e := range tr.Events {
				events = append(events, e.Journey)
			}
			for _, p := range tr.Packets {
				packets = append(packets, p.Journey)
			}
			if got := slices.Compact(events); !slices.Equal(got, c.want) {
				t.Errorf("journeys %v, want %v", got, c.want)
			}
			if got := slices.Compact(packets); !slices.Equal(got, c.want) {
				t.Errorf("journeys of packets %v, want %v", got, c.want)
			}
			if n := len(r.Events()); c.f.Limit > 0 && tr.Left != n-c.f.Limit {
				t.Errorf("%d left out of %d", tr.Left, n)
			}
		})
	}
}

var arrow = regexp.MustCompile(`^    (participant n\d+ as \S.*|n\d+(->>|-x)n\d+: \[\d+\] \d+\.\d{6} \S.*|Note over n\d+(,n\d+)?: \S.*)$`)

// checkLadder fails on a line that Mermaid would not take.
func checkLadder(t *testing.T, s string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	if lines[0] != "sequenceDiagram" {
		t.Errorf("begins with %q", lines[0])
	}
	entity := regexp.MustCompile(`#(\d+|lt|amp);`)
	for _, l := range lines[1:] {
		bare := strings.ReplaceAll(entity.ReplaceAllString(l, ""), "<br/>", "")
		if !arrow.MatchString(l) || strings.ContainsAny(bare, "#;<%{}\\") {
			t.Errorf("line %q", l)
		}
	}
}

// Names and payloads cannot break out of the diagram.
func TestLadderHostile(t *testing.T) {
	h := newHomes(t, 1)
	evil := "end\n;note over <script>alert(1)</script> #35; %% {}\\ a->>b: x"
	e, err := h.Host(evil, link.Config{}, netip.MustParseAddr("198.51.100.66"))
	if err != nil {
		t.Fatal(err)
	}
	p, _ := e.BindUDP(1, ignore)
	r := trace.New(trace.Config{Decode: func([]byte) string { return evil }})
	r.Attach(h.World)
	p.SendTo(serverAt, []byte("x"))
	p.SendTo(bobAt, []byte("x"))
	h.run(time.Second)
	var b strings.Builder
	if err := r.WriteMermaid(&b, trace.Filter{}); err != nil {
		t.Fatal(err)
	}
	checkLadder(t, b.String())
	b.Reset()
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if n, want := strings.Count(b.String(), "\n"), len(r.Events())+1; n != want {
		t.Errorf("%d lines of text, want %d:\n%s", n, want, b.String())
	}
}

// A ladder stays within what Mermaid takes, and says what it leaves out.
func TestLadderIsBounded(t *testing.T) {
	h := newHomes(t, 1)
	r := trace.New(trace.Config{Keep: 5000})
	r.Attach(h.World)
	for i := range 2000 {
		h.a.SendTo(serverAt, fmt.Append(nil, i))
		h.run(time.Second)
	}
	for _, limit := range []int{0, 20} {
		var b strings.Builder
		if err := r.WriteMermaid(&b, trace.Filter{Limit: limit}); err != nil {
			t.Fatal(err)
		}
		s := b.String()
		checkLadder(t, s)
		if n := strings.Count(s, "->>"); len(s) >= 50000 || n < 10 || limit == 0 && n < 300 || limit > 0 && n > limit {
			t.Errorf("limit %d: %d bytes, %d arrows", limit, len(s), n)
		}
		if !strings.Contains(s, " more events are not shown\n") || !strings.Contains(s, " events were not recorded\n") {
			t.Errorf("limit %d: ends with %q", limit, s[max(0, len(s)-200):])
		}
	}
}

// Nothing recorded is a diagram, too.
func TestEmpty(t *testing.T) {
	var b strings.Builder
	if err := trace.New(trace.Config{}).WriteMermaid(&b, trace.Filter{}); err != nil || b.String() != "sequenceDiagram\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
	b.Reset()
	if err := trace.New(trace.Config{}).WriteJSON(&b); err != nil || !strings.Contains(b.String(), `"schema":1`) || !strings.Contains(b.String(), `"nodes":[]`) {
		t.Errorf("%q, %v", b.String(), err)
	}
}

package matrix_test

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"shipworm/testnet/matrix"
	"shipworm/testnet/nat"
)

// all are the defaults and the NATs beside them.
func all() []string { return append(matrix.Defaults(), "none", "firewall", "udp-blocked") }

// TestUDPTable: the printed table for every pair. L-05
func TestUDPTable(t *testing.T) {
	var b bytes.Buffer
	if err := run(t, matrix.Config{NATs: all(), Seed: 1}).WriteText(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "udp.golden", b.Bytes())
}

// TestUDPTheory holds the table against what RFC 5128 says must come out: an
// end whose mapping depends on the destination in a way nobody can foresee is
// reached, through the peer's answer to its hello, only by a peer whose filter
// does not look at ports.
func TestUDPTheory(t *testing.T) {
	unforeseen := func(name string) bool {
		c, _ := nat.Profile(name)
		kept := c.Allocation == nat.Preserving && c.Overlap
		return !c.NoTranslation && c.Mapping != nat.EndpointIndependent && !kept
	}
	strict := func(name string) bool {
		c, _ := nat.Profile(name)
		return c.Filtering == nat.AddressAndPortDependent
	}
	table := run(t, matrix.Config{NATs: all(), Seed: 2})
	for _, c := range table.Cells {
		want := matrix.Connected
		switch a, b := unforeseen(c.From), unforeseen(c.To); {
		case c.From == "udp-blocked" || c.To == "udp-blocked":
			want = matrix.Unready
		case a && b:
			want = matrix.Failed // each looks for the other at a port that no longer counts
		case a && strict(c.To) || b && strict(c.From):
			want = matrix.Failed
		}
		if c.Outcome != want {
			t.Errorf("%s -> %s: %s (%s), want %s", c.From, c.To, c.Outcome, c.Reason, want)
		}
		if (c.Outcome == matrix.Connected) != (c.Reason == "") || (c.Outcome == matrix.Connected) != (c.Time > 0) {
			t.Errorf("%s -> %s: %s, reason %q, time %v", c.From, c.To, c.Outcome, c.Reason, c.Time)
		}
	}
}

// TestSame: the same seed gives the same table and ladders, and a pair does
// not depend on which others are tried.
func TestSame(t *testing.T) {
	c := matrix.Config{Method: matrix.UDP{}, NATs: all(), Seed: 7, Loss: 0.1, Runs: 2}
	one, two := run(t, c), run(t, c)
	if d := cmp.Diff(one.Cells, two.Cells, cmp.AllowUnexported(matrix.Drop{}), cmp.Comparer(equal)); d != "" {
		t.Errorf("two runs differ:\n%s", d)
	}
	c.NATs = []string{"symmetric", "cone"}
	for _, part := range run(t, c).Cells {
		whole := one.Cell(part.From, part.To)
		if d := cmp.Diff(*whole, part, cmp.AllowUnexported(matrix.Drop{}), cmp.Comparer(equal)); d != "" {
			t.Errorf("%s -> %s depends on the other pairs:\n%s", part.From, part.To, d)
		}
	}
	c.Seed = 8
	if cmp.Equal(one.Cell("cone", "cone").Ladder, run(t, c).Cell("cone", "cone").Ladder, cmp.Comparer(equal)) {
		t.Error("another seed has the same packets")
	}
}

func equal(a, b netip.AddrPort) bool { return a == b }

// TestLoss: with loss, what can connect still does, later, and what cannot
// does not; runs that differ in luck are counted.
func TestLoss(t *testing.T) {
	nats := []string{"port-restricted", "symmetric"}
	clear := run(t, matrix.Config{NATs: nats, Seed: 1})
	lossy := run(t, matrix.Config{Method: matrix.UDP{}, NATs: nats, Seed: 1, Loss: 0.3, Runs: 200})
	c := lossy.Cell("port-restricted", "port-restricted")
	if c.Runs != 200 || c.OK < 190 {
		t.Errorf("%d of %d runs connected, want nearly all", c.OK, c.Runs)
	}
	if before := clear.Cell("port-restricted", "port-restricted").Time; c.Time <= before {
		t.Errorf("%v with loss, %v without", c.Time, before)
	}
	if c := lossy.Cell("port-restricted", "symmetric"); c.OK != 0 || c.Outcome != matrix.Failed || !strings.HasPrefix(c.Reason, "NAT ") {
		t.Errorf("port-restricted -> symmetric: %d runs, %s, %q", c.OK, c.Outcome, c.Reason)
	}
	total := run(t, matrix.Config{NATs: nats[:1], Loss: 1}).Cells[0]
	if total.Outcome != matrix.Unready || total.Reason != "line of NAT A: lost on the line" {
		t.Errorf("a dead line: %s, %q", total.Outcome, total.Reason)
	}
	some := run(t, matrix.Config{NATs: nats[:1], Loss: 0.75, Runs: 50, Seed: 3}).Cells[0]
	if some.Outcome != matrix.Sometimes || some.OK == 0 || some.OK == 50 || some.Reason == "" || len(some.Ladder.Rows) == 0 {
		t.Errorf("three of four packets lost: %s in %d of %d runs, %q", some.Outcome, some.OK, some.Runs, some.Reason)
	}
}

// TestConfig: every problem is reported, and unknown NATs by their name.
func TestConfig(t *testing.T) {
	for name, test := range map[string]struct {
		c    matrix.Config
		want []string
	}{
		"no method":   {matrix.Config{}, []string{"no method"}},
		"unknown":     {matrix.Config{Method: matrix.UDP{}, NATs: []string{"cone", "conical", "round"}}, []string{`"conical"`, `"round"`}},
		"twice":       {matrix.Config{Method: matrix.UDP{}, NATs: []string{"cone", "cone"}}, []string{"twice"}},
		"numbers":     {matrix.Config{Method: matrix.UDP{}, Runs: -1, Loss: 2, Limit: -1}, []string{"runs", "loss", "limit"}},
		"many to try": {matrix.Config{Method: matrix.UDP{}, NATs: slices.Repeat([]string{"cone"}, 33)}, []string{"33 NATs"}},
	} {
		_, err := matrix.Run(t.Context(), test.c)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, w := range test.want {
			if !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(w)) {
				t.Errorf("%s: %v: nothing about %s", name, err, w)
			}
		}
		if errors.Is(err, nat.ErrNoProfile) != (name == "unknown") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCancel: a long table ends with its context.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	cancel(stop)
	if _, err := matrix.Run(ctx, matrix.Config{Method: matrix.UDP{}, Runs: matrix.MaxRuns}); !errors.Is(err, stop) {
		t.Errorf("table: %v", err)
	}
	if _, err := matrix.Bisect(ctx, matrix.BisectConfig{Config: matrix.Config{Method: matrix.UDP{}}, A: "symmetric", B: "symmetric"}); !errors.Is(err, stop) {
		t.Errorf("bisect: %v", err)
	}
}

// BenchmarkTable is a table of the nine default NATs.
func BenchmarkTable(b *testing.B) {
	for b.Loop() {
		if _, err := matrix.Run(b.Context(), matrix.Config{Method: matrix.UDP{}, Seed: 1}); err != nil {
			b.Fatal(err)
		}
	}
}

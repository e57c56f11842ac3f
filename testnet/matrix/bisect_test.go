package matrix_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"shipworm/testnet/matrix"
)

// TestBisect: the smallest changes for pairs whose theory is known.
func TestBisect(t *testing.T) {
	for _, test := range []struct {
		a, b string
		most int
		want []string // each solution, as Knob of NAT: value
	}{
		{"symmetric", "port-restricted", 3, []string{
			"mapping of A: endpoint-independent", "allocation of A: overloading",
			"filtering of B: endpoint-independent", "filtering of B: address-dependent",
		}},
		{"port-restricted", "symmetric", 3, []string{
			"filtering of A: endpoint-independent", "filtering of A: address-dependent",
			"mapping of B: endpoint-independent", "allocation of B: overloading",
		}},
		// A port that mappings share tells them apart by the peer, so the
		// filter is not all that stands in the way.
		{"symmetric-preserving", "symmetric", 1, []string{"mapping of B: endpoint-independent", "allocation of B: overloading"}},
		{"firewall", "symmetric", 1, []string{
			"filtering of A: endpoint-independent", "filtering of A: address-dependent",
			"mapping of B: endpoint-independent", "allocation of B: overloading",
		}},
		// The server introduces both at once, so no hello is early.
		{"port-restricted", "linux-open-input", 3, nil},
		{"teredo-blocked", "cone", 3, nil}, // this method uses another port
		{"udp-blocked", "cone", 3, []string{"UDP of A: let through"}},
		{"udp-blocked", "udp-blocked", 2, nil},
		{"cone", "symmetric", 3, nil}, // connects as it is
	} {
		b, err := matrix.Bisect(t.Context(), matrix.BisectConfig{
			Config: matrix.Config{Method: matrix.UDP{}, Seed: 1}, A: test.a, B: test.b, Most: test.most,
		})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range b.Solutions {
			if s.Cell.Outcome != matrix.Connected {
				t.Errorf("%s -> %s: %v does not connect", test.a, test.b, s)
			}
			var parts []string
			for _, c := range s.Changes {
				parts = append(parts, c.Knob+" of "+c.NAT+": "+c.Is)
			}
			got = append(got, strings.Join(parts, ", "))
		}
		if d := cmp.Diff(test.want, got); d != "" {
			t.Errorf("%s -> %s:\n%s", test.a, test.b, d)
		}
	}
}

// TestBisectText: one sentence a solution; two changes where one is not
// enough.
func TestBisectText(t *testing.T) {
	var b bytes.Buffer
	for _, pair := range [][2]string{{"symmetric", "port-restricted"}, {"symmetric", "symmetric-address"}, {"cone", "cone"}, {"udp-blocked", "udp-blocked"}} {
		x, err := matrix.Bisect(t.Context(), matrix.BisectConfig{
			Config: matrix.Config{Method: matrix.UDP{}, Seed: 1}, A: pair[0], B: pair[1], Most: 2,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := x.WriteText(&b); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "bisect.golden", b.Bytes())
}

func TestBisectConfig(t *testing.T) {
	for _, c := range []matrix.BisectConfig{
		{A: "cone", B: "cone"},
		{Config: matrix.Config{Method: matrix.UDP{}}, A: "cone", B: "conical"},
		{Config: matrix.Config{Method: matrix.UDP{}}, A: "cone", B: "cone", Most: matrix.MaxChanges + 1},
	} {
		if _, err := matrix.Bisect(t.Context(), c); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
}

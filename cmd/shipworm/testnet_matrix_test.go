package main

import (
	"bytes"
	"testing"
	"time"

	"shipworm/testnet/matrix"
	"shipworm/testnet/nat"
)

// TestTeredoMatrix: the table of Teredo for all NATs. L-05
func TestTeredoMatrix(t *testing.T) {
	nats := append(matrix.Defaults(), "none", "firewall", "udp-blocked")
	table, err := matrix.Run(t.Context(), matrix.Config{Method: teredoMethod{}, NATs: nats, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := table.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "testnet_matrix_teredo.golden", b.Bytes())
	// RFC 6081, figure 1: the pairs that need nothing but RFC 4380.
	plain := func(name string) bool {
		c, _ := nat.Profile(name)
		return c.Mapping == nat.EndpointIndependent
	}
	for _, c := range table.Cells {
		if plain(c.From) && plain(c.To) && (c.Outcome != matrix.Connected || c.Time > time.Second) {
			t.Errorf("%s -> %s: %s in %v: %s", c.From, c.To, c.Outcome, c.Time, c.Reason)
		}
		for _, r := range c.Ladder.Rows {
			if r.What == "datagram" || r.What == "" {
				t.Errorf("%s -> %s: a packet without a name", c.From, c.To)
			}
		}
	}
}

// BenchmarkTeredoMatrix is the table of the nine default NATs; 2 s are allowed.
func BenchmarkTeredoMatrix(b *testing.B) {
	for b.Loop() {
		t, err := matrix.Run(b.Context(), matrix.Config{Method: teredoMethod{}, Seed: 1})
		if err != nil {
			b.Fatal(err)
		}
		if len(t.Cells) != 81 {
			b.Fatal(len(t.Cells), " cells")
		}
	}
}

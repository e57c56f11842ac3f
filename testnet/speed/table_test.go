//go:build linux

package main

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The three faces of one report of made-up values: a goal that is met, one that
// is not, one that was not measured, and a path that Miredo lacks.
func TestReport(t *testing.T) {
	b := &bench{
		stage:   &stage{missing: []string{"Miredo's relay: a test"}, notes: []string{"A note."}},
		cfg:     &config{rounds: 3, command: "go run ./testnet/speed", only: regexp.MustCompile("")},
		machine: machine{CPU: "Some CPU", Cores: 2, Kernel: "6.1", Go: "go1.26", Date: "2026-01-02", Load: 0.25},
	}
	for test, paths := range map[string]map[string][]float64{
		"tcp1":   {nameTUN: {20, 30, 10}, nameMiredo: {2, 2.5, 0.9}, nameNaive: {4, 6, 2.5}, nameRelayOut: {12, 13, 14}},
		"cpu-tx": {nameTUN: {300, 340, 900}},
		"rss":    {nameClient + idle: {18.5}},
	} {
		for _, p := range []string{nameTUN, nameMiredo, nameNaive, nameRelayOut, nameClient + idle} {
			for _, v := range paths[p] {
				b.add(test, p, v)
			}
		}
	}
	r := b.report()
	for name, write := range map[string]func(io.Writer) error{
		"report.txt": r.writeText, "report.json": r.writeJSON, "report.md": r.writeMarkdown,
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := write(&out); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestRatio(t *testing.T) {
	for _, c := range []struct {
		name         string
		values, base []float64
		want         *spread
	}{
		{"within rounds, not of medians", []float64{10, 100, 20}, []float64{1, 50, 1}, &spread{10, 2, 20}},
		{"of an even number", []float64{1, 3}, []float64{1, 1}, &spread{2, 1, 3}},
		{"no base", []float64{1}, nil, nil},
		{"another number of rounds", []float64{1, 2}, []float64{1}, nil},
		{"base of nothing", []float64{1}, []float64{0}, nil},
		{"of nothing", []float64{0}, []float64{2}, &spread{0, 0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, ratio(c.values, c.base)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A search comes close to the rate of a path from below, wherever it begins,
// also where the sender is what limits.
func TestSearch(t *testing.T) {
	for _, c := range []struct {
		name         string
		path, sender float64
	}{
		{"path limits", 400e3, 1e9},
		{"sender limits", 1e9, 300e3},
		{"slow path", 9e3, 1e9},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &search{rate: 50e3}
			limit := min(c.path, c.sender)
			for round := range 3 {
				if round > 0 {
					s = s.again()
				}
				for range 8 {
					sent := min(s.rate, c.sender)
					s.tried(min(sent, c.path), sent <= c.path)
				}
			}
			if s.good > limit || s.good < 0.85*limit {
				t.Errorf("found %.0f of %.0f", s.good, limit)
			}
		})
	}
}
